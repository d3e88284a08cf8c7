"""What a trap is: a fact that makes runs slow, wrong or fail, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from metaweight.core.records import Record
from metaweight.doctor.facts import Facts


class Trap(Record, frozen=True):
    """One that is there."""

    name: str
    """The same in all versions, for programs that read it."""
    warns: bool
    """False: it is so on most machines, and good to know when something is odd."""
    what: str
    advice: str


Rule = Callable[[Facts], Iterator[Trap]]
"""Gives the traps of one kind, none where there is none."""


def traps_in(facts: Facts, rules: Iterable[Rule]) -> tuple[Trap, ...]:
    """What ``rules`` find, warnings before what is good to know."""
    traps = [trap for rule in rules for trap in rule(facts)]
    return tuple(sorted(traps, key=lambda trap: not trap.warns))
