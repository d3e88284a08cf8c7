"""What is taken for a table, and what is refused as one."""

from __future__ import annotations

from typing import Any

import pandas as pd


def as_frame(table: Any) -> pd.DataFrame:
    """``table`` as a DataFrame: one of pandas stays, arrays [n, d] and lists of rows get columns 0, 1, ...

    Raises TypeError for a sparse matrix, ValueError for another number of dimensions, no row or no column,
    and for two columns of one name.
    """
    if isinstance(table, pd.DataFrame):
        return _checked(table)
    from sklearn.utils.validation import check_array  # a second to import: only where there is a table

    # sparse matrices, one dimension, complex numbers and no rows are refused in scikit-learn's words
    array = check_array(table, dtype=None, ensure_all_finite=False, input_name="X")
    frame = pd.DataFrame(array, copy=False)  # nothing here writes into a table
    return _checked(frame.infer_objects() if array.dtype.kind == "O" else frame)


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    rows, columns = frame.shape
    if columns == 0 or rows == 0:
        raise ValueError(f"a table has 1 row and 1 column or more, got {rows} rows and {columns} columns")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()].unique().tolist()
        raise ValueError(f"columns have names of their own, and these stand twice: {twice[:5]}")
    return frame


def column_name(name: object) -> str:
    """How messages call a column: by its name in quotes, of an array by its number."""
    return f"column {name!r}"
