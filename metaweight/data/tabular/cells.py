"""The cells of a column as text, numbers or dates: read once for each distinct cell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
TRUTHS = {"true": 1.0, "false": 0.0}
"""What a file of text calls booleans, in small letters."""
_DAY = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?"


def distinct(cells: pd.Series[Any]) -> tuple[Ints, list[str | None]]:
    """Code of each cell [N] and the text of each code; None, in the last place, is a missing or empty cell.

    Whole numbers have one text however they are stored: 1, 1.0 and "1" are "1".
    """
    if isinstance(cells.dtype, pd.CategoricalDtype):
        codes, values = np.asarray(cells.cat.codes), list(cells.cat.categories)
    else:
        try:
            codes, uniques = pd.factorize(cells)
        except TypeError:  # a cell that cannot be hashed: a list, a dict
            codes, uniques = pd.factorize(cells.map(str))
        values = list(uniques)
    texts = [_text(value) for value in values]
    # several cells may have one text, and empty ones none
    place: dict[str | None, int] = {}
    for text in texts:
        if text is not None:
            place.setdefault(text, len(place))
    missing = len(place)
    renamed = np.array([*(place.get(text, missing) for text in texts), missing], dtype=np.int64)
    return renamed[codes], [*place, None]  # code -1 is the last of all


def _text(value: object) -> str | None:
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return None
        if float(value).is_integer():
            return str(int(value))
    return str(value).strip() or None


def numbers_of_text(cells: pd.Series[Any]) -> tuple[Floats, list[tuple[int, str]]]:
    """Number of each cell [N], NaN where it is missing or none, and row and text of those that are none."""
    codes, texts = distinct(cells)
    values = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.isnan(values) & np.array([text is not None for text in texts])
    rows = np.flatnonzero(wrong[codes])
    return values[codes], [(int(row), str(texts[codes[row]])) for row in rows]


def numbers(cells: pd.Series[Any]) -> tuple[Floats, list[tuple[int, str]]]:
    """As ``numbers_of_text``, of a column of any type; a span of time counts in days."""
    dtype = cells.dtype
    if pd.api.types.is_timedelta64_dtype(dtype):
        return (cells.dt.total_seconds() / 86400).to_numpy(dtype=np.float64), []
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        if isinstance(dtype, pd.CategoricalDtype):
            return numbers_of_text(cells)
        return cells.to_numpy(dtype=np.float64, na_value=np.nan), []
    if (plain := _plain_numbers(cells)) is not None:
        return plain, []
    if are_booleans(cells):
        return cells.astype("boolean").to_numpy(dtype=np.float64, na_value=np.nan), []
    return numbers_of_text(cells)


def are_booleans(cells: pd.Series[Any]) -> bool:
    """Whether all cells that are there are True or False, and no words for them."""
    may_be = pd.api.types.is_bool_dtype(cells.dtype) or cells.dtype == object
    return may_be and bool(pd.api.types.infer_dtype(cells, skipna=True) == "boolean")


def spelt_out(values: Floats, wrong: list[tuple[int, str]]) -> tuple[Floats, list[tuple[int, str]]]:
    """What ``numbers`` gives, with the words true and false read as 1 and 0."""
    values, left = values.copy(), []
    for row, text in wrong:
        if (truth := TRUTHS.get(text.casefold())) is None:
            left.append((row, text))
        else:
            values[row] = truth
    return values, left


def _plain_numbers(cells: pd.Series[Any]) -> Floats | None:
    """Text of which every cell is a number or empty, in one sweep; None where some are not."""
    import pyarrow
    import pyarrow.compute

    try:
        texts = pyarrow.array(cells)
        if isinstance(texts, pyarrow.ChunkedArray):
            texts = texts.combine_chunks()
        if not pyarrow.types.is_string(texts.type) and not pyarrow.types.is_large_string(texts.type):
            return None
        trimmed = pyarrow.compute.utf8_trim_whitespace(texts)
        known = pyarrow.compute.if_else(pyarrow.compute.equal(trimmed, ""), None, trimmed)
        values: Floats = pyarrow.compute.cast(known, pyarrow.float64()).to_numpy(zero_copy_only=False)
    except (pyarrow.ArrowException, TypeError):
        return None
    empty = known.is_null().to_numpy(zero_copy_only=False)
    return None if np.isnan(values[~empty]).any() else values  # the word nan is no number


def dates(cells: pd.Series[Any]) -> tuple[pd.Series[Any], list[tuple[int, str]]]:
    """Time of each cell (of text: ISO 8601), NaT where it is missing or none; row and text of the latter.

    Times with a zone count in UTC.
    """
    if isinstance(cells.dtype, pd.PeriodDtype):
        return cells.dt.to_timestamp(), []
    if pd.api.types.is_datetime64_any_dtype(cells.dtype):
        return pd.to_datetime(cells, utc=True).dt.tz_localize(None), []
    codes, texts = distinct(cells)
    shown = pd.Series(texts, dtype="str")
    right = shown.str.fullmatch(_DAY, na=False).to_numpy(dtype=bool)
    times = pd.to_datetime(shown.where(right), errors="coerce", utc=True, format="ISO8601")
    wrong = times.isna().to_numpy() & shown.notna().to_numpy()
    rows = np.flatnonzero(wrong[codes])
    told = [(int(row), str(texts[codes[row]])) for row in rows]
    return times.dt.tz_localize(None).iloc[codes].reset_index(drop=True), told
