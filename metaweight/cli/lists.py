"""``metaweight teachers``, ``engines`` and ``remedies``: what there is to choose from."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich import get_console
from rich.table import Table

from metaweight import engines, remedies, teachers
from metaweight.student import losses


@dataclass(frozen=True)
class Teachers:
    """A call prints them, plug-ins included, with their options."""

    def __call__(self) -> None:
        table = Table("teacher", "what it does", "options (default)")
        for name in teachers.names():
            table.add_row(name, _summary(teachers.registry[name]), _listed(teachers.options(name)))
        get_console().print(table)


@dataclass(frozen=True)
class Engines:
    """A call prints them, plug-ins included, with their options."""

    def __call__(self) -> None:
        table = Table("engine", "what it does", "inner steps (K)", "options (default)")
        for name in engines.names():
            engine = engines.build_engine(name)
            most = "any" if engine.max_unroll is None else str(engine.max_unroll)
            table.add_row(name, engine.summary, most, _listed(engines.options(name)))
        get_console().print(table)


@dataclass(frozen=True)
class Remedies:
    """A call prints them, and the losses, with their options."""

    def __call__(self) -> None:
        table = Table("remedy", "what it does", "options (default)")
        for name in remedies.remedies.names():
            table.add_row(name, _summary(remedies.remedies[name]), _listed(remedies.remedy_options(name)))
        get_console().print(table)
        table = Table("loss", "what it does", "options (default)")
        for name in losses.losses.names():
            table.add_row(name, _summary(losses.losses[name]), _listed(losses.loss_options(name)))
        get_console().print(table)


def _summary(part: object) -> str:
    return (inspect.getdoc(part) or "").split("\n\n")[0].replace("\n", " ")


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={default}" for name, default in options.items()) or "-"
