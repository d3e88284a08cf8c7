"""What a run gave: in memory, and as it lies in its folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import structs

from metaweight.core.records import Record
from metaweight.training.fates import Fates
from metaweight.training.history import History

RESULT = "result.json"


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
    """More that the task keeps, as JSON holds it: a score's signature."""
    fates: Fates | None = None
    """What became of the wrong labels, where that is known and there are any."""
    cost: float | None = None
    """Training in all stages of a remedy, in plain runs; None where there are no stages."""
    epoch: int | None = None
    """The epoch, from 1, whose student is handed out; None: the last."""


class Result(Record, frozen=True):
    """The figures of one run.  Raises ValueError for one that is not finite; None stands for "undefined"."""

    arm: str
    noise: str
    seed: int
    figures: Mapping[str, float | None]

    def __post_init__(self) -> None:
        for name, value in self.figures.items():
            if value is not None and not math.isfinite(value):
                raise ValueError(
                    f"{name} of {self.arm} under {self.noise} is {value}: give None if undefined"
                )


class RunResult(Result, frozen=True, kw_only=True):
    """result.json of a run's folder: an Outcome under the names that a table prints."""

    history: tuple[Mapping[str, int | float | None], ...]
    """A row an epoch."""
    epoch: int | None = None
    layers: tuple[str, ...] = ()
    attention: tuple[tuple[float | None, ...], ...] = ()
    fates: Fates | None = None
    warnings: tuple[str, ...] = ()
    details: Mapping[str, Any] = {}

    @property
    def row(self) -> Mapping[str, int | float | None]:
        """What was measured in the epoch whose student is handed out."""
        return self.history[-1 if self.epoch is None else self.epoch - 1]

    def with_validation(self) -> RunResult:
        """With what was measured on the validation samples in that epoch among its figures."""
        measured = {name: value for name, value in self.row.items() if name.startswith("valid_")}
        return structs.replace(self, figures={**measured, **self.figures})

    @property
    def when(self) -> str:
        """That epoch, as a headline says it."""
        return "last epoch" if self.epoch is None else f"epoch {self.epoch}, whose student is handed out"


@dataclass(frozen=True)
class Finished:
    """A finished run of a comparison."""

    result: RunResult
    folder: Path
    """Its run folder."""
