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
        table = Table("teacher", "what it does", "sees", "learns", "options (default)")
        for name in teachers.names():
            teacher = teachers.registry[name]
            cells = (teacher.sees or "-", "yes" if teacher.learns else "no", _listed(teachers.options(name)))
            table.add_row(name, _summary(teacher), *cells)
        get_console().print(table)


@dataclass(frozen=True)
class Engines:
    """A call prints them, plug-ins included, with their options."""

    def __call__(self) -> None:
        table = Table("engine", "what it does", "inner steps (K)", "can", "options (default)")
        for name in engines.names():
            engine = engines.registry[name]
            most = "any" if engine.abilities.steps is None else str(engine.abilities.steps)
            table.add_row(
                name, engine.summary, most, _abilities(engine.abilities), _listed(engines.options(name))
            )
        get_console().print(table)


@dataclass(frozen=True)
class Remedies:
    """A call prints them, and the losses, with their options."""

    def __call__(self) -> None:
        table = Table("remedy", "what it does", "uses the truth", "options (default)")
        for name in remedies.remedies.names():
            remedy = remedies.remedies[name]
            cells = ("yes" if remedy.uses_truth else "no", _listed(remedies.remedy_options(name)))
            table.add_row(name, _summary(remedy), *cells)
        get_console().print(table)
        table = Table("loss", "what it does", "options (default)")
        for name in losses.losses.names():
            table.add_row(name, _summary(losses.losses[name]), _listed(losses.loss_options(name)))
        get_console().print(table)


def _abilities(abilities: engines.Abilities) -> str:
    """In words, those that not every engine has."""
    words = {
        "exact": abilities.exact,
        "BatchNorm": abilities.coupled,
        "weights per token": abilities.tokens,
        "fused attention": not abilities.written_out_attention,
        "online windows": abilities.ends_window,
    }
    return ", ".join(word for word, has in words.items() if has)


def _summary(part: object) -> str:
    return (inspect.getdoc(part) or "").split("\n\n")[0].replace("\n", " ")


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={default}" for name, default in options.items()) or "-"
