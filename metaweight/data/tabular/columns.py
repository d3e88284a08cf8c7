"""A column as the training rows show it: numbers, categories or dates, and how its cells are encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from metaweight.data.tabular.cells import Floats, Ints, dates, distinct, numbers, spelt_out
from metaweight.data.tabular.frames import column_name

UNKNOWN, MISSING = 0, 1
"""Codes of every column of categories: one that the training rows do not show often enough; an empty cell."""
MOST = 1000
"""Categories of a column that have a code of their own, the most frequent ones."""
REACH = 3.0
"""Scaled numbers lie within this: an outlier is large, and not without bound."""
NORMAL = 1.349
"""Quartile range of a normal distribution, in standard deviations."""


@dataclass(frozen=True)
class NumberColumn:
    """Numbers less their median, by their quartile range, bent into (-REACH, REACH); missing is the median.

    Holzmüller et al. (2024), robust scaling and smooth clipping.  Difference: where half of the cells are
    equal, the scale is the standard deviation.
    """

    name: object
    median: float
    scale: float
    """0 where all cells are equal."""
    indicator: bool
    """Whether a second number says which cells are missing."""
    lenient: bool = False
    """Whether cells that are no numbers count as missing, as they did in training."""
    truths: bool = False
    """Whether they are booleans: a file of text spells them true and false."""

    @staticmethod
    def fit(name: object, values: Floats, *, lenient: bool = False) -> NumberColumn:
        """Of the training rows' ``values`` [N], NaN where missing.  Raises ValueError for infinity."""
        _require_finite(name, values)
        known = values[~np.isnan(values)]
        if len(known) == 0:
            return NumberColumn(name, 0.0, 0.0, False, lenient)
        low, median, high = (float(q) for q in np.percentile(known, [25, 50, 75]))
        scale = (high - low) / NORMAL or float(known.std())
        return NumberColumn(name, median, scale, len(known) < len(values), lenient)

    @property
    def width(self) -> int:
        """Numbers that a cell becomes."""
        return 2 if self.indicator else 1

    def encode(self, cells: pd.Series[Any]) -> Floats:
        """[N, width].  Raises ValueError for text where numbers were, and for infinity."""
        values, wrong = numbers(cells)
        if self.truths:
            values, wrong = spelt_out(values, wrong)
        if wrong and not self.lenient:
            raise ValueError(_unreadable(self.name, "numbers", wrong))
        return self.scaled(values)

    def scaled(self, values: Floats) -> Floats:
        """[N] -> [N, width]."""
        _require_finite(self.name, values)
        missing = np.isnan(values)
        z = np.where(missing, 0.0, values - self.median) / (self.scale or np.inf)
        bent = z / np.hypot(1.0, z / REACH)
        return np.stack([bent, missing], axis=1) if self.indicator else bent[:, None]


@dataclass(frozen=True)
class DateColumn:
    """Year, month, weekday, hour (where times are given) and days since the first one, each as numbers."""

    name: object
    first: pd.Timestamp
    parts: tuple[tuple[str, NumberColumn], ...]

    @staticmethod
    def fit(name: object, times: pd.Series[Any]) -> DateColumn:
        """Of the training rows' ``times`` [N], NaT where missing, at least one of them not."""
        first = times.min()
        clock = bool((times.dropna() != times.dropna().dt.normalize()).any())
        names = ("year", "month", "weekday", *(("hour",) if clock else ()), "days")
        columns = (NumberColumn.fit(f"{name}, {part}", _part(times, part, first)) for part in names)
        parts = tuple(zip(names, columns, strict=True))
        # one indicator is enough: the parts are missing together
        return DateColumn(name, first, tuple((part, _without(column, part)) for part, column in parts))

    @property
    def width(self) -> int:
        """Numbers that a cell becomes."""
        return sum(column.width for _, column in self.parts)

    def encode(self, cells: pd.Series[Any]) -> Floats:
        """[N, width].  Raises ValueError for text that is no date."""
        times, wrong = dates(cells)
        if wrong:
            raise ValueError(_unreadable(self.name, "dates (YYYY-MM-DD)", wrong))
        blocks = [column.scaled(_part(times, part, self.first)) for part, column in self.parts]
        return np.concatenate(blocks, axis=1)


@dataclass(frozen=True)
class CategoryColumn:
    """A code for each category that two training rows show; UNKNOWN and MISSING for the other cells."""

    name: object
    codes: dict[str, int]

    @staticmethod
    def fit(name: object, cells: pd.Series[Any]) -> CategoryColumn:
        """Of the training rows' cells."""
        codes, texts = distinct(cells)
        counts = np.bincount(codes, minlength=len(texts))
        known = [(-int(n), text) for n, text in zip(counts, texts, strict=True) if text is not None and n > 1]
        return CategoryColumn(name, {text: code + 2 for code, (_, text) in enumerate(sorted(known)[:MOST])})

    @property
    def cardinality(self) -> int:
        """Codes."""
        return len(self.codes) + 2

    def encode(self, cells: pd.Series[Any]) -> Ints:
        """[N]."""
        codes, texts = distinct(cells)
        known = [MISSING if text is None else self.codes.get(text, UNKNOWN) for text in texts]
        return np.array(known, dtype=np.int64)[codes]


Column = NumberColumn | DateColumn | CategoryColumn


def _part(times: pd.Series[Any], part: str, first: pd.Timestamp) -> Floats:
    if part == "days":
        shown = (times - first).dt.total_seconds() / 86400
    else:
        shown = getattr(times.dt, "day_of_week" if part == "weekday" else part)
    values: Floats = shown.to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def _without(column: NumberColumn, part: str) -> NumberColumn:
    return NumberColumn(column.name, column.median, column.scale, column.indicator and part == "days")


def _require_finite(name: object, values: Floats) -> None:
    rows = np.flatnonzero(np.isinf(values))
    if len(rows):
        raise ValueError(
            f"{column_name(name)} holds infinity in {len(rows)} rows, the first of them {rows[0]}: give "
            "finite numbers, or leave the cell empty (NaN) where the number is not known"
        )


def _unreadable(name: object, kind: str, wrong: list[tuple[int, str]]) -> str:
    shown = ", ".join(f"{text!r} in row {row}" for row, text in wrong[:3])
    return (
        f"{column_name(name)} held {kind} when the model was fitted, and now holds {shown} ({len(wrong)} "
        "such cells): mend them, or leave them empty (NaN)"
    )
