"""The trusted rows of a fit: given apart, named within X, or drawn out of X where that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from metaweight.data.tabular import as_frame

Ints = np.ndarray[Any, np.dtype[np.int64]]
WAYS = (
    "fit(X, y, X_meta=rows, y_meta=labels), or name checked rows of X, fit(X, y, meta=mask). "
    "Or have a share of X drawn as it is, wrong rows among it: meta_from_train=0.2"
)

NOT_ALIKE = (
    "X_meta has columns with names and X has none: on its way through a Pipeline X was transformed, and "
    "X_meta was not. Name checked rows of X, fit(X, y, STEP__meta=mask), or have both transformed: "
    "Pipeline(steps, transform_input=['X_meta']) with metadata routing. Where they are alike but for the "
    "names, give X_meta.to_numpy()"
)


@dataclass(frozen=True)
class Trusted:
    """Which rows of X are trained on with a weight, and which are trusted."""

    train: Ints
    """[n] positions in X."""
    meta: Ints
    """[m] positions in X; empty where trusted rows were given apart."""
    note: str
    checked: bool = True
    """Whether somebody says that they are right."""


def require_trusted(needed: str) -> ValueError:
    """The error of a fit without trusted rows; ``needed``: how many do."""
    return ValueError(
        f"no trusted rows: the weights are learnt from rows that are surely right. {needed} Give them: {WAYS}"
    )


def given(X: pd.DataFrame, names: bool, X_meta: Any, y_meta: Any, meta: Any) -> Trusted | None:
    """The trusted rows that a fit on X was given; None: it was given none.  ``names``: of X's columns, as the
    user gave it.

    Raises ValueError for some of each kind, lengths that differ, and names where X has none.
    """
    if (X_meta is None) != (y_meta is None):
        one, lacks = ("X_meta", "y_meta") if y_meta is None else ("y_meta", "X_meta")
        raise ValueError(f"trusted rows are X_meta with their y_meta, got {one} without {lacks}")
    if X_meta is not None and meta is not None:
        raise ValueError("trusted rows are X_meta and y_meta, or named by meta: give one of them")
    if meta is not None:
        return named(meta, len(X))
    if X_meta is None:
        return None
    if hasattr(X_meta, "columns") and not names:
        raise ValueError(NOT_ALIKE)
    if (size := len(as_frame(X_meta))) != len(y_meta):
        raise ValueError(f"X_meta and y_meta have one length, got {size} and {len(y_meta)}")
    return apart(len(X), len(y_meta))


def named(meta: Any, rows: int) -> Trusted:
    """Trusted rows by a boolean mask [rows] or by positions in X.

    Raises ValueError for a mask of another length, positions that are not there or stand twice, and where all
    rows or none are named; TypeError for something else.
    """
    given = np.asarray(meta)
    if given.ndim != 1 or given.dtype.kind not in "biu":
        raise TypeError(
            "meta is a boolean mask over the rows of X, or their positions, got "
            f"{given.dtype} of shape {given.shape}"
        )
    if given.dtype.kind == "b":
        if len(given) != rows:
            raise ValueError(f"meta is a mask over the {rows} rows of X, got {len(given)} values")
        mask = given
    else:
        outside = given[(given < 0) | (given >= rows)]
        if len(outside) or len(np.unique(given)) < len(given):
            what = f"{outside[:5].tolist()}" if len(outside) else "some of them twice"
            raise ValueError(f"meta names rows 0 to {rows - 1} of X, each once, got {what}")
        mask = np.zeros(rows, dtype=bool)
        mask[given.astype(np.int64)] = True
    if mask.all() or not mask.any():
        which = "every row" if mask.all() else "no row"
        raise ValueError(
            f"meta names {which} of X: some are to be trusted, and others to be weighed. Where a "
            "cross-validation cut X so, shuffle its folds, or give trusted rows apart (X_meta, y_meta)"
        )
    meta_rows = np.flatnonzero(mask)
    return Trusted(np.flatnonzero(~mask), meta_rows, f"{len(meta_rows)} rows of X are trusted")


def apart(rows: int, trusted: int) -> Trusted:
    """Trusted rows that are none of X."""
    return Trusted(np.arange(rows), np.empty(0, dtype=np.int64), f"{trusted} trusted rows were given")


def drawn(groups: Ints, share: Any, random: np.random.RandomState) -> Trusted:
    """A share of each group of rows [n], unchecked as they are, one or more of each that has two.

    Raises ValueError for a share outside (0, 1) and where nothing can be drawn.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise ValueError(f"meta_from_train is None or a share of the rows in (0, 1), got {share!r}")
    picked = []
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        if len(rows) > 1:
            wanted = min(max(round(share * len(rows)), 1), len(rows) - 1)
            picked.append(random.permutation(rows)[:wanted])
    if not picked:
        raise ValueError(
            f"meta_from_train={share} draws no trusted row out of {len(groups)}: each class has one sample, "
            "or there is one row"
        )
    meta = np.sort(np.concatenate(picked))
    note = (
        f"{len(meta)} of the {len(groups)} rows are taken as trusted, and nobody has checked them: "
        f"meta_from_train={share}"
    )
    return Trusted(np.setdiff1d(np.arange(len(groups)), meta), meta, note, checked=False)
