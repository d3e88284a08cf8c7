"""What a column of the training rows is taken for, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from metaweight.data.tabular.cells import Floats, are_booleans, dates, distinct, numbers
from metaweight.data.tabular.columns import CategoryColumn, Column, DateColumn, NumberColumn
from metaweight.data.tabular.frames import column_name

NUMBERS = 0.95
"""Share of a column's cells that are numbers, from which on the others count as missing."""
FREE = 0.5
"""Distinct cells by all: beyond this, text is a name or a sentence and no category."""
FEW = 20
"""So many distinct cells are categories, however few rows there are."""


def read_column(name: object, cells: pd.Series[Any]) -> tuple[Column | None, str]:
    """The column as the training rows show it, None where it is left out, and a line about it.

    Raises ValueError for numbers that are infinite.
    """
    column, said = _read(name, cells)
    if isinstance(column, NumberColumn) and are_booleans(cells):
        column = replace(column, truths=True)
    return column, f"{column_name(name)}: {said}"


def _read(name: object, cells: pd.Series[Any]) -> tuple[Column | None, str]:
    dtype = cells.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _categories(name, cells)
    if pd.api.types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        return _dates(name, cells)
    if pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype):
        return _numbers(name, numbers(cells)[0])
    values, wrong = numbers(cells)
    known = int((~np.isnan(values)).sum())
    if not known and not wrong:
        return NumberColumn.fit(name, values), "empty"
    if known >= NUMBERS * (known + len(wrong)):
        return _numbers(name, values, wrong)
    if not known and not dates(cells)[1]:
        return _dates(name, cells)
    return _text(name, cells, known / (known + len(wrong)))


def _numbers(name: object, values: Floats, wrong: list[tuple[int, str]] | None = None) -> tuple[Column, str]:
    column = NumberColumn.fit(name, values, lenient=bool(wrong))
    said = "numbers" if column.scale else "numbers, all equal"
    if wrong:
        shown = ", ".join(dict.fromkeys(repr(text) for _, text in wrong[:100]))[:80]
        said += f"; {len(wrong)} cells that are none ({shown}) count as missing"
    return column, said + _missing(int(np.isnan(values).sum()), len(values))


def _dates(name: object, cells: pd.Series[Any]) -> tuple[Column, str]:
    times, _ = dates(cells)
    if bool(times.isna().all()):
        return NumberColumn.fit(name, np.full(len(times), np.nan)), "dates, all of them missing"
    column = DateColumn.fit(name, times)
    parts = ", ".join(part for part, _ in column.parts)
    return column, f"dates, as {parts}" + _missing(int(times.isna().sum()), len(times))


def _categories(name: object, cells: pd.Series[Any]) -> tuple[Column, str]:
    column = CategoryColumn.fit(name, cells)
    empty = int((column.encode(cells) == 1).sum())
    return column, f"{len(column.codes)} categories" + _missing(empty, len(cells))


def _text(name: object, cells: pd.Series[Any], share: float) -> tuple[Column | None, str]:
    codes, texts = distinct(cells)
    filled = int((codes < len(texts) - 1).sum())
    if len(texts) - 1 > max(FEW, FREE * filled):
        return None, f"left out: {len(texts) - 1} distinct texts in {filled} cells are names, not categories"
    column, said = _categories(name, cells)
    if share:
        said += f", though {share:.0%} of its cells are numbers"
    return column, said


def _missing(count: int, rows: int) -> str:
    return f", {count} of {rows} missing" if count else ""
