"""A sample to be checked, as it is written: rows of text under the columns of a trusted file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from metaweight.core.csv_text import csv_text
from metaweight.data.origins import Origins, place_columns

LabelKind = Literal["none", "class", "number", "several"]
"""What a row's label is: one of the classes, a number, some of the classes."""


@dataclass(frozen=True, eq=False)
class Sample:
    """n rows to be checked."""

    place: str
    """The data that they were drawn from."""
    columns: tuple[str, ...]
    """Those of its owner, the label's among them."""
    cells: tuple[tuple[str, ...], ...]
    """n rows of them."""
    label: str = ""
    """Column of the labels; "" where rows have none."""
    kind: LabelKind = "none"
    classes: tuple[str, ...] = ()
    """In their order; a class's cell is spelt as here."""
    origins: Origins | None = None
    """None where a row's cells say where it is, as of a folder of pictures."""
    open: Callable[[int], object] | None = None
    """Position -> the picture."""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def header(self) -> tuple[str, ...]:
        """The columns of the file: where a row is, then those of its owner."""
        return self.columns if self.origins is None else (*place_columns(self.columns), *self.columns)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells under ``header``."""
        if self.origins is None:
            return list(self.cells)
        places = self.origins.cells()
        return [(*place, *cells) for place, cells in zip(places, self.cells, strict=True)]

    def csv(self) -> str:
        """The file of trusted rows, once their labels are put right."""
        return csv_text(self.header, self.rows)
