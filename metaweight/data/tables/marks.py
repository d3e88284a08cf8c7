"""A column that marks rows as trusted: yes or no."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metaweight.data.origins import Origins

YES = frozenset(("1", "1.0", "true", "yes", "y", "x", "t", "checked", "trusted", "ok"))
NO = frozenset(("", "0", "0.0", "false", "no", "n", "f", "-", "nan", "none", "null", "<na>"))
"""What cells say, in any case."""


def marked(cells: Sequence[object], origins: Origins, column: str, place: str) -> Tensor:
    """Which rows the cells of a column mark, [n] bool; empty cells do not.

    ``place``: the source, for messages.  Raises ValueError, with the row, for a cell that says neither, and
    where no row is marked, or all of them are.
    """
    said = ["" if cell is None else str(cell).strip().casefold() for cell in cells]
    for row, word in enumerate(said):
        if word not in YES and word not in NO:
            raise ValueError(
                f"{origins[row]}: {column!r} is {cells[row]!r}; it marks trusted rows with yes (1, true, x), "
                "and others with no (0, false) or nothing"
            )
    marks = torch.tensor([word in YES for word in said])
    if not marks.any() or marks.all():
        which = "no row" if not marks.any() else "every row"
        raise ValueError(
            f"{place}: {column!r} marks {which} as trusted; write yes in those whose label "
            "somebody has checked"
        )
    return marks
