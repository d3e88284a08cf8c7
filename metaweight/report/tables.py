"""From the results of single runs to one table: a block for each kind of noise, a row for each teacher."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from metaweight.metrics.weights import mean_and_spread


@dataclass(frozen=True)
class Result:
    """What one run gave.  Raises ValueError for a figure that is not finite; None stands for "undefined"."""

    teacher: str
    noise: str
    seed: int
    accuracy: float
    """Percent, at the last epoch."""
    auroc: float | None = None
    """Of the weights for finding the flipped samples; None where there are none."""
    cost: float | None = None
    """Of an iteration, in plain steps; None where it was not measured."""
    extra: Mapping[str, float] = field(default_factory=dict)
    """More figures by name."""

    def __post_init__(self) -> None:
        for name in ("accuracy", "auroc", "cost"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(
                    f"{name} of {self.teacher} under {self.noise} is {value}: give None if undefined"
                )


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds; NaN spread for one seed."""

    mean: float
    spread: float

    def text(self, digits: int) -> str:
        """``95.8 ± 1.2``; the mean alone for one seed."""
        around = "" if math.isnan(self.spread) else f" ± {self.spread:.{digits}f}"
        return f"{self.mean:.{digits}f}{around}"


@dataclass(frozen=True)
class Row:
    """All seeds of one teacher under one kind of noise."""

    noise: str
    teacher: str
    seeds: int
    """How many."""
    accuracy: Spread
    auroc: Spread | None
    """None where it is undefined for any seed."""
    cost: float | None
    """Mean over the seeds that it was measured for."""
    extra: Mapping[str, Spread]
    """Figures that every seed has and that are finite for all."""


def aggregate(results: Sequence[Result]) -> list[Row]:
    """One row for each (noise, teacher), both in the order in which they first appear.

    Raises ValueError where one run is given twice.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        group = groups.setdefault((result.noise, result.teacher), [])
        if any(result.seed == other.seed for other in group):
            raise ValueError(f"{result.teacher} under {result.noise} has seed {result.seed} twice")
        group.append(result)
    noises = list(dict.fromkeys(result.noise for result in results))
    teachers = list(dict.fromkeys(result.teacher for result in results))
    return [_row(groups[n, t]) for n in noises for t in teachers if (n, t) in groups]


def _row(group: Sequence[Result]) -> Row:
    costs = [r.cost for r in group if r.cost is not None]
    extra = {name: _spread([r.extra.get(name) for r in group]) for name in group[0].extra}
    return Row(
        noise=group[0].noise,
        teacher=group[0].teacher,
        seeds=len(group),
        accuracy=Spread(*mean_and_spread([r.accuracy for r in group])),
        auroc=_spread([r.auroc for r in group]),
        cost=mean_and_spread(costs)[0] if costs else None,
        extra={name: value for name, value in extra.items() if value is not None},
    )


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return Spread(*mean_and_spread(known)) if len(known) == len(values) else None


HEADINGS = ("teacher", "accuracy, %", "AUROC of the weights", "cost, plain steps", "seeds")


def _cells(row: Row) -> tuple[str, ...]:
    """A row as it is printed, under ``HEADINGS``."""
    return (
        row.teacher,
        row.accuracy.text(1),
        "-" if row.auroc is None else row.auroc.text(2),
        "-" if row.cost is None else f"{row.cost:.1f}",
        str(row.seeds),
    )


def _blocks(rows: Sequence[Row]) -> dict[str, list[tuple[tuple[str, ...], set[int]]]]:
    """Noise -> its rows' cells, each with the columns in which it is the best or, as printed, equal to it."""
    blocks: dict[str, list[Row]] = {}
    for row in rows:
        blocks.setdefault(row.noise, []).append(row)
    return {noise: list(_with_best(block)) for noise, block in blocks.items()}


def _with_best(block: Sequence[Row]) -> list[tuple[tuple[str, ...], set[int]]]:
    printed = [(_cells(row), _scores(row)) for row in block]
    best = {
        column: max(scores[column] for _, scores in printed if column in scores)
        for column in {column for _, scores in printed for column in scores}
    }
    alone = len(block) == 1
    return [
        (cells, set() if alone else {column for column, score in scores.items() if score == best[column]})
        for cells, scores in printed
    ]


def _scores(row: Row) -> dict[int, float]:
    """Column -> its figure, higher is better, rounded as printed: what looks equal is equally good."""
    scores = {1: round(row.accuracy.mean, 1)}
    return scores if row.auroc is None else scores | {2: round(row.auroc.mean, 2)}


def to_markdown(rows: Sequence[Row]) -> str:
    """The table for people: mean ± sample standard deviation over seeds, the best of a block in bold."""
    parts = []
    for noise, block in _blocks(rows).items():
        lines = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 1))]
        lines += [tuple(f"**{c}**" if i in best else c for i, c in enumerate(cells)) for cells, best in block]
        parts.append(f"**Noise: {noise}**\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines))
    return "\n".join(parts)


def to_csv(rows: Sequence[Row]) -> str:
    """The table for programs, in full precision; empty where a figure is undefined."""
    names = list(dict.fromkeys(name for row in rows for name in row.extra))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    spreads = [f"{name}_{part}" for name in ("accuracy", "auroc", *names) for part in ("mean", "spread")]
    writer.writerow(["noise", "teacher", "seeds", *spreads, "cost"])
    for row in rows:
        figures = [row.accuracy, row.auroc, *(row.extra.get(name) for name in names)]
        numbers = [n for s in figures for n in ((None, None) if s is None else (s.mean, s.spread))]
        shown = ["" if n is None or math.isnan(n) else n for n in [*numbers, row.cost]]
        writer.writerow([row.noise, row.teacher, row.seeds, *shown])
    return text.getvalue()


def print_table(rows: Sequence[Row], *, console: Console | None = None) -> None:
    """The table in the terminal, one section for each kind of noise."""
    table = Table()
    for number, heading in enumerate(("noise", *HEADINGS)):
        table.add_column(heading, justify="right" if number > 1 else "left", no_wrap=number < 2)
    for noise, block in _blocks(rows).items():
        for number, (cells, best) in enumerate(block):
            shown = [f"[bold]{cell}[/bold]" if i in best else cell for i, cell in enumerate(cells)]
            table.add_row("" if number else noise, *shown)
        table.add_section()
    (console or Console()).print(table)
