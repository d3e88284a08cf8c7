"""How the states of a recorded run are kept, and how much memory the way back through it may take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch.optim import Optimizer

from metaweight.engines.inner import InnerStep
from metaweight.influence.point import Point
from metaweight.influence.segments import Segments
from metaweight.influence.store import Rounded, Store
from metaweight.student.student import Student

States = Literal["exact", "bf16"]
OnDifference = Literal["stop", "recorded"]


@dataclass(frozen=True)
class Keeping:
    """Which states, in how many digits, and what becomes of steps that do not end in them when taken again.

    ``low_memory``: on the way back states between two of those lie on the disk, and steps are gone back
    through block by block, or some rows at a time.

    Raises ValueError for other ``states`` or ``on_difference``.
    """

    checkpoints: str | int = "sqrt"
    """See ``Segments.planned``."""
    states: States = "exact"
    on_difference: OnDifference = "stop"
    low_memory: bool = False

    def __post_init__(self) -> None:
        if self.states not in ("exact", "bf16"):
            raise ValueError(f"states is 'exact' or 'bf16', got {self.states!r}")
        if self.on_difference not in ("stop", "recorded"):
            raise ValueError(f"on_difference is 'stop' or 'recorded', got {self.on_difference!r}")
        if not isinstance(self.low_memory, bool):
            raise TypeError(f"low_memory is True or False, got {self.low_memory!r}")

    @property
    def stops(self) -> bool:
        """Whether steps that do not end where they ended first are an error; else the kept state counts."""
        return self.on_difference == "stop"

    @property
    def rounds(self) -> bool:
        """Whether states between the first and the last have fewer digits than the run had."""
        return self.states == "bf16"

    def segments(self, steps: int, start: Point, student: Student, optimizer: Optimizer) -> Segments:
        """Of a run of ``steps`` of both from ``start``."""
        if not isinstance(self.checkpoints, str) or self.checkpoints in ("sqrt", "all"):
            return Segments.planned(steps, self.checkpoints, 0)
        whole = _grown(start, InnerStep.of(optimizer, student.parameters()))
        each = whole.rounded() if self.rounds else whole
        return Segments.planned(steps, self.checkpoints, each.size(), whole.size())

    def over(self, store: Store, segments: Segments) -> Store:
        """``store``, with as many digits as are kept."""
        return Rounded(store, segments.places) if self.rounds else store


def _grown(start: Point, inner: InnerStep) -> Point:
    """Of the size of a state once the optimizer has its own."""
    _, after = inner(start.parameters, {n: torch.zeros_like(p) for n, p in start.parameters.items()})
    return replace(start, states={name: after.states.get(name, {}) for name in start.parameters})
