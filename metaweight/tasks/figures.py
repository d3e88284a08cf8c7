"""Figures of a run: which there are, how people see them, by which arms are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

from msgspec import structs

from metaweight.core.records import Record
from metaweight.tasks.outcome import Finished, RunResult


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
    reached: str = ""
    """Format of the figure in a sentence, where arms are compared by it: ``{:.1f} % {part} accuracy``."""
    part: str = "test"
    """Of which samples it is: test or validation."""

    def said(self, value: float) -> str:
        """The figure in a sentence."""
        return self.reached.format(value, part=self.part)


class Compared(Record, frozen=True):
    """A figure that the arms are compared by."""

    figure: str
    """Its name among a result's figures."""
    heading: str
    """``last epoch``."""
    unit: str
    """Of a difference, as a sentence has it: ``points of accuracy``."""
    digits: int = 1
    higher_is_better: bool = True


@dataclass(frozen=True)
class Curve:
    """A figure of the epochs that a comparison draws over time."""

    figure: str
    """Its name in an epoch's row: ``test_accuracy``."""
    title: str
    axis: str
    """What its axis says, with the unit."""


@dataclass(frozen=True)
class Headline:
    """How one figure, or one of an epoch's row, is said of a single run."""

    what: str
    """With ``{when}`` for the epoch whose student is handed out."""
    figure: str
    """``auroc*``: every figure whose name begins so, with the rest of its name behind ``what``."""
    text: str = "{:.3f}"
    """Format of the figure; ``{scores[sentences]}`` is one of the details that a task keeps."""
    unknown: tuple[str, str] | None = None
    """What is said, and how, where the figure is there but not known; None: nothing."""

    def lines(
        self, figures: Mapping[str, float | None], others: Mapping[str, object] | None = None
    ) -> list[tuple[str, str]]:
        """(what, text) of each figure that is there; ``others``: what else the formats name.

        One that is None is said as ``unknown``.
        """
        begin, star, _ = self.figure.partition("*")
        lines = []
        for name, value in figures.items():
            if not (name == begin or (star and name.startswith(begin))):
                continue
            kind = name.removeprefix(begin).lstrip("_")
            what = self.what.format(**others or {}) + (f", {kind}" if kind else "")
            if value is not None and not math.isnan(value):
                lines.append((what, self.text.format(value, **others or {})))
            elif value is None and name == self.figure and self.unknown is not None:
                lines.append(self.unknown)
        return lines


def no_signatures(details: Mapping[str, Any]) -> Mapping[str, str]:
    """Figures that need none."""
    return {}


def no_notes(runs: Sequence[Finished]) -> Sequence[str]:
    """Nothing under the table."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Presentation:
    """How people see what the runs of a task gave; commands and reports draw from it."""

    columns: tuple[Column, ...]
    """Of its table; they print figures of a result, and "cost".  The first is the main one."""
    compared: tuple[Compared, ...]
    """By these arms are compared; the sentences are about the first."""
    curve: Curve
    counted: str
    """What a target is, for the pace of training: images, tokens."""
    watched: Headline
    """Of an epoch's row, in the line of progress."""
    headlines: tuple[Headline, ...]
    """Of one run, at its end."""
    signatures: Callable[[Mapping[str, Any]], Mapping[str, str]] = no_signatures
    """What a run's details say of how figures were got, by figure; it stands beside them."""
    notes: Callable[[Sequence[Finished]], Sequence[str]] = no_notes
    """Paragraphs under the table of a comparison, Markdown, from what its finished runs left."""
    always_tested: bool = False
    """Whether every run has test samples, even where nobody names them."""

    def of(self, results: Sequence[RunResult]) -> Presentation:
        """What of it is for these runs: columns and comparisons by figures that one of them has.

        A task of several kinds of target shows accuracy of classes and R² of numbers.  All of it, where no
        figure that arms are compared by is there.
        """
        there = {name for one in results for name, value in one.figures.items() if value is not None}
        compared = tuple(one for one in self.compared if one.figure in there)
        if not compared:
            return self
        known = {one.figure for one in self.compared} - {one.figure for one in compared}
        columns = tuple(column for column in self.columns if column.figure not in known)
        return replace(self, columns=columns, compared=compared)

    def measured(self, results: Sequence[RunResult]) -> Presentation:
        """``of`` these runs; where none of them has a figure of test samples, that of the validation samples.

        The latter are called ``valid_`` and their name.
        """
        names = {one.figure for one in self.compared}
        if any(one.figures.get(name) is not None for one in results for name in names):
            return self.of(results)
        columns = tuple(_on_validation(one) if one.figure in names else one for one in self.columns)
        compared = tuple(structs.replace(one, figure=f"valid_{one.figure}") for one in self.compared)
        return replace(self, columns=columns, compared=compared).of(results)

    def of_epoch(self, row: Mapping[str, float]) -> str:
        """What the line of progress says of an epoch; empty where nothing was measured."""
        return "".join(" ".join(line) for line in self.watched.lines(row))

    def of_run(self, result: RunResult) -> list[tuple[str, str]]:
        """(what, figure) of a run that has ended."""
        others = {**result.details, "when": result.when}
        return [line for headline in self.headlines for line in headline.lines(result.figures, others)]


def _on_validation(column: Column) -> Column:
    heading, figure = f"{column.heading}, validation", f"valid_{column.figure}"
    return replace(column, heading=heading, figure=figure, part="validation")


def mean_text(values: Sequence[float | None], text: str) -> str:
    """The mean of one value a seed in the format ``text``; "-" where a seed has none."""
    finite = [value for value in values if value is not None]
    return text.format(fmean(finite)) if finite and len(finite) == len(values) else "-"
