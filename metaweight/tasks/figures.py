"""Figures of a run: which there are, how a table shows them, by which arms are compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Column:
    """One figure of the table for people."""

    heading: str
    figure: str
    """Its name among a result's figures."""
    digits: int
    """Behind the point."""
    spread: bool = True
    """Mean and spread over all seeds, undefined where one seed has none; else the mean of those that have."""
    best: Literal["highest", "lowest"] | None = None
    """What is printed in bold."""


@dataclass(frozen=True)
class Result:
    """What one run gave.  Raises ValueError for a figure that is not finite; None stands for "undefined"."""

    teacher: str
    noise: str
    seed: int
    figures: Mapping[str, float | None]

    def __post_init__(self) -> None:
        for name, value in self.figures.items():
            if value is not None and not math.isfinite(value):
                raise ValueError(
                    f"{name} of {self.teacher} under {self.noise} is {value}: give None if undefined"
                )


@dataclass(frozen=True)
class Compared:
    """A figure that the arms are compared by."""

    figure: str
    """Its name among a result's figures."""
    heading: str
    """``last epoch``."""
    unit: str
    """Of a difference, as a sentence has it: ``points of accuracy``."""
    digits: int = 1
    higher_is_better: bool = True


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Headings, rule and rows, a line each, the last without its end; ``left`` columns are words."""
    rule = ("---",) * left + ("---:",) * (len(headings) - left)
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *rows))


@dataclass(frozen=True)
class Curve:
    """A figure of the epochs that a comparison draws over time."""

    figure: str
    """Its name in an epoch's row: ``test_accuracy``."""
    title: str
    axis: str
    """What its axis says, with the unit."""
