"""From the results of single runs to one table: a block for each kind of noise, a row for each arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from metaweight.core.console import Terminal
from metaweight.core.csv_text import csv_text
from metaweight.core.markdown import Strong, escaped, markdown_table
from metaweight.core.shown import shown
from metaweight.core.weights import mean_and_spread
from metaweight.tasks.figures import Column
from metaweight.tasks.outcome import Result

NAME = 24
"""Characters of a name that the terminal's table breaks at no place."""


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds; NaN spread for one seed or where none is wanted."""

    mean: float
    spread: float

    def text(self, digits: int) -> str:
        """``95.8 ± 1.2``; the mean alone without a spread."""
        around = "" if math.isnan(self.spread) else f" ± {self.spread:.{digits}f}"
        return f"{self.mean:.{digits}f}{around}"


@dataclass(frozen=True)
class Row:
    """All seeds of one arm under one kind of noise."""

    noise: str
    arm: str
    seeds: int
    """How many."""
    figures: Mapping[str, Spread]
    """Those that are defined for every seed; of a column without spread, for any."""


@dataclass(frozen=True)
class Comparison:
    """Rows and the columns that show them."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def headings(self) -> tuple[str, ...]:
        """Of the table for people, the kind of noise left out."""
        return ("arm", *(column.heading for column in self.columns), "seeds")


def aggregate(results: Sequence[Result], columns: Sequence[Column]) -> Comparison:
    """One row for each (noise, arm), both in the order in which they first appear.

    Raises ValueError where one run is given twice.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        group = groups.setdefault((result.noise, result.arm), [])
        if any(result.seed == other.seed for other in group):
            raise ValueError(f"{result.arm} under {result.noise} has seed {result.seed} twice")
        group.append(result)
    noises = list(dict.fromkeys(result.noise for result in results))
    arms = list(dict.fromkeys(result.arm for result in results))
    single = {column.figure for column in columns if not column.spread}
    rows = [_row(groups[n, a], single) for n in noises for a in arms if (n, a) in groups]
    return Comparison(tuple(columns), tuple(rows))


def _row(group: Sequence[Result], single: set[str]) -> Row:
    figures = {}
    for name in dict.fromkeys(name for result in group for name in result.figures):
        values = [result.figures.get(name) for result in group]
        finite = [value for value in values if value is not None]
        if name in single and finite:
            figures[name] = Spread(mean_and_spread(finite)[0], math.nan)
        elif len(finite) == len(values):
            figures[name] = Spread(*mean_and_spread(finite))
    return Row(group[0].noise, group[0].arm, len(group), figures)


def _cells(row: Row, columns: Sequence[Column]) -> tuple[str, ...]:
    """A row as it is printed, under the table's headings."""
    figures = [
        row.figures[column.figure].text(column.digits) if column.figure in row.figures else "-"
        for column in columns
    ]
    return (row.arm, *figures, str(row.seeds))


def _blocks(table: Comparison) -> dict[str, list[tuple[tuple[str, ...], set[int]]]]:
    """Noise -> its rows' cells, each with the columns in which it is the best or, as printed, equal to it."""
    blocks: dict[str, list[Row]] = {}
    for row in table.rows:
        blocks.setdefault(row.noise, []).append(row)
    return {noise: list(_with_best(block, table.columns)) for noise, block in blocks.items()}


def _with_best(block: Sequence[Row], columns: Sequence[Column]) -> list[tuple[tuple[str, ...], set[int]]]:
    printed = [(_cells(row, columns), _scores(row, columns)) for row in block]
    best = {
        column: max(scores[column] for _, scores in printed if column in scores)
        for column in {column for _, scores in printed for column in scores}
    }
    alone = len(block) == 1
    return [
        (cells, set() if alone else {column for column, score in scores.items() if score == best[column]})
        for cells, scores in printed
    ]


def _scores(row: Row, columns: Sequence[Column]) -> dict[int, float]:
    """Cell -> its figure, higher is better, rounded as printed: what looks equal is equally good."""
    return {
        cell: round(row.figures[column.figure].mean, column.digits) * (1 if column.best == "highest" else -1)
        for cell, column in enumerate(columns, start=1)
        if column.best is not None and column.figure in row.figures
    }


def to_markdown(table: Comparison) -> str:
    """The table for people: mean ± sample standard deviation over seeds, the best of a block in bold."""
    parts = []
    for noise, block in _blocks(table).items():
        rows = [tuple(Strong(c) if i in best else c for i, c in enumerate(cells)) for cells, best in block]
        parts.append(f"**Noise: {escaped(noise)}**\n\n{markdown_table(table.headings, rows)}\n")
    return "\n".join(parts)


def to_csv(table: Comparison) -> str:
    """The table for programs, in full precision; empty where a figure is undefined.

    Columns with a spread come first, then the figures that are in no column, then columns without one.
    """
    in_columns = {column.figure for column in table.columns}
    spread = [column.figure for column in table.columns if column.spread]
    spread += dict.fromkeys(name for row in table.rows for name in row.figures if name not in in_columns)
    single = [column.figure for column in table.columns if not column.spread]
    parts = [f"{name}_{part}" for name in spread for part in ("mean", "spread")]
    gap, rows = Spread(math.nan, math.nan), []
    for row in table.rows:
        pairs = [row.figures.get(name, gap) for name in spread]
        numbers = [n for pair in pairs for n in (pair.mean, pair.spread)]
        numbers += [row.figures.get(name, gap).mean for name in single]
        rows.append([row.noise, row.arm, row.seeds, *("" if math.isnan(n) else n for n in numbers)])
    return csv_text(["noise", "arm", "seeds", *parts, *single], rows)


def runs_to_csv(results: Sequence[Result], columns: Sequence[Column]) -> str:
    """Every single run's figures: the table's columns, then the others by name."""
    in_columns = [column.figure for column in columns]
    others = sorted({name for result in results for name in result.figures if name not in in_columns})
    names = [*in_columns, *others]
    rows = ([r.noise, r.arm, r.seed, *(r.figures.get(name) for name in names)] for r in results)
    return csv_text(["noise", "arm", "seed", *names], rows)


def print_table(table: Comparison, *, console: Terminal) -> None:
    """The table in the terminal, one section for each kind of noise."""
    printed = Table()
    for number, heading in enumerate(("noise", *table.headings)):
        justify: JustifyMethod = "right" if number > 1 else "left"
        whole = number < 2 and max((len(row.arm) for row in table.rows), default=0) <= NAME
        printed.add_column(heading, justify=justify, no_wrap=whole, overflow="fold")
    for noise, block in _blocks(table).items():
        for number, (cells, best) in enumerate(block):
            printed_cells = [Text(shown(cell), "bold" if i in best else "") for i, cell in enumerate(cells)]
            printed.add_row("" if number else noise, *printed_cells)
        printed.add_section()
    console.print(printed)
