"""What a run gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metaweight.tasks.config import RunConfig
from metaweight.training.history import History


@dataclass(frozen=True)
class Outcome:
    """What a run gave."""

    figures: Mapping[str, float]
    """By name, in the order in which tables list them; NaN where one is undefined."""
    history: History
    layers: tuple[str, ...] = ()
    """Taps, for a teacher that attends to them."""
    attention: tuple[tuple[float, ...], ...] = ()
    """[epochs, L], share of attention on each tapped layer, for a teacher that has it."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """More that the task keeps in result.json, as JSON holds it: a score's signature."""
    cost: float | None = None
    """Training in all stages of a remedy, in plain runs; None where there are no stages."""
    epoch: int | None = None
    """The epoch, from 1, whose student is handed out; None: the last."""

    @property
    def row(self) -> Mapping[str, float]:
        """What was measured in the epoch whose student is handed out."""
        return self.history.row(self.epoch)

    @property
    def when(self) -> str:
        """That epoch, as a line of a summary says it."""
        return "last epoch" if self.epoch is None else f"epoch {self.epoch}, whose student is handed out"


@dataclass(frozen=True)
class Finished:
    """A finished run of a comparison."""

    config: RunConfig
    noise: str
    """The kind of noise as the table prints it."""
    arm: str
    """What is compared, as the table prints it: a teacher, or a name for one with options of its own."""
    outcome: Outcome
    folder: Path
    """Its run folder."""
