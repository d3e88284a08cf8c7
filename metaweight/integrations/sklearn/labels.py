"""Targets of a fit: class labels to codes, numbers to floats, and what is wrong with them said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

Array = np.ndarray[Any, Any]
OF_EACH = 10
"""Trusted rows of each class that are asked for."""


def one_column(y: Any, name: str, rows: int | None = None) -> Array:
    """y [n] as an array.

    Raises ValueError without one, for several columns, another length, and a missing or infinite value, with
    its row.
    """
    if y is None:
        raise ValueError(f"a fit requires y to be passed, but the target y is None ({name})")
    if hasattr(y, "to_numpy") and pd.api.types.is_extension_array_dtype(getattr(y, "dtype", None)):
        y = y.to_numpy(dtype=object)
    column: Array = column_or_1d(y, warn=True)
    if rows is not None and len(column) != rows:
        raise ValueError(
            f"X and y have one length, got {rows} and {len(column)} samples: inconsistent lengths"
        )
    missing = pd.isna(column)
    if column.dtype.kind == "f":
        missing = missing | np.isinf(column)
    if missing.any():
        at = np.flatnonzero(missing)
        raise ValueError(
            f"{name} has no value or an infinite one in {len(at)} rows, the first of them "
            f"{at[:5].tolist()}: leave those rows out of X and y"
        )
    # what only looks like objects, as whole numbers of a pandas type that knows missing ones do
    return np.asarray(pd.Series(column).infer_objects()) if column.dtype.kind == "O" else column


def classes_of(y: Array) -> tuple[Array, Array]:
    """The classes [C] in order, and the code of each row [n] int64.

    Raises ValueError for real numbers and for one class, TypeError for labels that cannot be put in order.
    """
    try:
        classes, codes = np.unique(y, return_inverse=True)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in y})
        raise TypeError(f"labels are of one type, got {' and '.join(kinds)}: write y.astype(str)") from None
    check_classification_targets(y)
    if len(classes) < 2:
        raise ValueError(f"y has one class, {_shown(classes)}: a classifier needs 2 classes or more")
    return classes, codes.astype(np.int64)


def codes_of(y_meta: Array, classes: Array) -> Array:
    """The code of each trusted label [m] int64.  Raises ValueError for labels that ``classes`` lacks."""
    codes: Array = pd.Index(classes).get_indexer(pd.Index(y_meta)).astype(np.int64)
    strange = pd.unique(y_meta[codes < 0])
    if len(strange):
        raise ValueError(
            f"y_meta has labels that y lacks: {_shown(strange)}; y has {_shown(classes)}. Labels are of one "
            "type in both, and a class is learnt only from rows in X"
        )
    return codes


def has_columns(y: Any) -> bool:
    """Whether y is a table of several columns, as labels of which a row may have several are."""
    table = np.asarray(y) if hasattr(y, "__array__") or isinstance(y, list | tuple) else y
    return getattr(table, "ndim", 0) == 2 and table.shape[1] > 1


def answers_of(y: Any, name: str, rows: int | None = None) -> Array:
    """Which labels each row has [n, L], 0 or 1, int64.

    Raises ValueError for another number of rows, and for what is neither 0 nor 1, with its place.
    """
    try:
        given = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"labels [n, L], of which a row may have several, are 0 or 1, {name} has others"
        ) from None
    if rows is not None and len(given) != rows:
        raise ValueError(
            f"X and y have one length, got {rows} and {len(given)} samples: inconsistent lengths"
        )
    strange = np.argwhere((given != 0) & (given != 1))
    if len(strange):
        row, column = strange[0].tolist()
        raise ValueError(
            f"labels [n, L], of which a row may have several, are 0 or 1, {name} has {given[row, column]:g} "
            f"in row {row}, column {column} ({len(strange)} such cells in all)"
        )
    return given.astype(np.int64)


def answers_like(y_meta: Any, classes: Array) -> Array:
    """Which of ``classes`` [L] each trusted row has [m, L].  Raises ValueError for another number of them."""
    given = answers_of(y_meta, "y_meta")
    if given.ndim != 2 or given.shape[1] != len(classes):
        raise ValueError(f"y has {len(classes)} labels, a column each, y_meta is of shape {given.shape}")
    return given


def require_both(answers: Array, given: Array, classes: Array) -> None:
    """Raise ValueError where rows ``given`` [n, L] have, or are without, a label and no trusted row [m, L] is
    like them: they would all look wrong."""
    for answer, what in ((1, "has"), (0, "is without")):
        lacking = classes[(given == answer).any(axis=0) & ~(answers == answer).any(axis=0)]
        if len(lacking):
            raise ValueError(
                f"no trusted row {what} label {_shown(lacking)}, and such rows would all look wrong: add "
                f"{OF_EACH} or more of each"
            )


def require_each(codes: Array, classes: Array) -> None:
    """Raise ValueError where a class has no trusted row: its rows would all look wrong."""
    lacking = classes[np.bincount(codes, minlength=len(classes)) == 0]
    if len(lacking):
        raise ValueError(
            f"no trusted row is of class {_shown(lacking)}: its rows would all look wrong. Add some, "
            f"{OF_EACH} or more of each class"
        )


def _shown(labels: Array) -> str:
    return ", ".join(map(repr, labels[:5].tolist())) + (", ..." if len(labels) > 5 else "")
