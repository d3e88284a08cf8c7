"""``metaweight teachers``, ``engines`` and ``remedies``: what there is to choose from."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from metaweight import engines, remedies, teachers
from metaweight.core.console import Terminal
from metaweight.core.shown import shown
from metaweight.student import losses


@dataclass(frozen=True)
class Teachers:
    """A call prints them, plug-ins included, with their options."""

    def __call__(self) -> None:
        table = _table("teacher", "sees", "learns", "what it does, and its options with their defaults")
        for name in teachers.names():
            teacher = teachers.registry[name]
            about = _about(_summary(teacher), options=_listed(teachers.options(name)))
            table.add_row(name, teacher.sees or "-", "yes" if teacher.learns else "no", about)
        Terminal().print(table)


@dataclass(frozen=True)
class Engines:
    """A call prints them, plug-ins included, with their options."""

    def __call__(self) -> None:
        table = _table("engine", "K", "how, for K inner steps at most, and its options")
        for name in engines.names():
            engine = engines.registry[name]
            steps, can = engine.abilities.steps, _abilities(engine.abilities)
            about = _about(engine.summary, can=can, options=_listed(engines.options(name)))
            table.add_row(name, "any" if steps is None else str(steps), about)
        Terminal().print(table)


@dataclass(frozen=True)
class Remedies:
    """A call prints them, and the losses, with their options."""

    def __call__(self) -> None:
        table = _table("remedy", "truth", "what it does (truth: told which samples are bad), and its options")
        for name in remedies.remedies.names():
            remedy = remedies.remedies[name]
            about = _about(_summary(remedy), options=_listed(remedies.remedy_options(name)))
            table.add_row(name, "yes" if remedy.uses_truth else "no", about)
        Terminal().print(table)
        table = _table("loss", "what it does, and its options with their defaults")
        for name in losses.losses.names():
            options = _listed(losses.loss_options(name))
            table.add_row(name, _about(_summary(losses.losses[name]), options=options))
        Terminal().print(table)


def _table(*headings: str) -> Table:
    """Names are never cut; the last column takes the rest of the line."""
    table = Table(*headings)
    for column in table.columns[:-1]:
        column.no_wrap = True
    return table


def _about(summary: str, **facts: str) -> Text:
    """A summary, with a line for each fact that there is."""
    lines = [(f"\n{name}: {shown(fact)}", "dim") for name, fact in facts.items() if fact]
    return Text.assemble(shown(summary), *lines)


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
    return ", ".join(f"{name}={default}" for name, default in options.items())
