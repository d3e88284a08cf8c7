"""A column that marks rows: yes or no."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from metaweight.data.origins import Origin

YES = frozenset(("yes", "y", "true", "t", "x", "1", "1.0"))
NO = frozenset(("", "no", "n", "false", "f", "0", "0.0", "-", "nan", "none", "null"))
"""What cells say, in small letters."""


def marked(cells: Sequence[object], origins: Iterable[Origin], column: str, place: str) -> Tensor:
    """Which rows a column marks, [n] bool; an empty cell does not.

    ``place``: the source, for messages.  Raises ValueError, with the row, for a cell that says neither, and
    where no row is marked, or all of them are.
    """
    marks = []
    for cell, origin in zip(cells, origins, strict=True):
        said = _said(cell)
        if said not in YES and said not in NO:
            raise ValueError(
                f"{origin}: {column!r} is {cell!r}; write yes or no (true, 1, x; false, 0, empty)"
            )
        marks.append(said in YES)
    if not any(marks) or all(marks):
        got = "every row" if any(marks) else "no row"
        raise ValueError(
            f"{place}: column {column!r} marks {got} as trusted; write yes in those rows whose label "
            "somebody has checked and leave the others empty"
        )
    return torch.tensor(marks)


def _said(cell: object) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(cell).strip().lower()
