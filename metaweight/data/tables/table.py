"""Table: the rows of a file by column, each with the place that it came from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metaweight.core.registry import did_you_mean
from metaweight.data.origins import Origins


@dataclass(frozen=True, eq=False)
class Table:
    """n rows of a file.

    Raises ValueError where columns, cells and origins do not fit together.
    """

    file: str
    """As the user gave it."""
    columns: tuple[str, ...]
    """As the header (JSON Lines: the keys) names them; of a table without header as its reader calls them,
    or "1", "2", ... ."""
    cells: tuple[Sequence[Any], ...]
    """n cells of each column: text in CSV and TSV, else numbers, lists and so on as the file has them; None
    where a row has none."""
    origins: Origins
    headed: bool = True
    """Whether the file names its columns."""
    ordered: bool = True
    """Whether its columns have an order; keys of JSON have none."""
    notes: tuple[str, ...] = ()
    """What its owner should know of how the file was read, a clause each."""

    def __post_init__(self) -> None:
        if len(self.columns) != len(self.cells) or any(len(c) != len(self.origins) for c in self.cells):
            sizes = [len(column) for column in self.cells]
            raise ValueError(f"columns {self.columns} of {len(self.origins)} rows have {sizes} cells")

    def __len__(self) -> int:
        return len(self.origins)

    @property
    def said(self) -> str:
        """The notes in one text, with the file's name; empty where there is none."""
        return f"{self.file}: {', '.join(self.notes)}" if self.notes else ""

    def column(self, name: str) -> Sequence[Any]:
        """The cells of a column.  Raises ValueError where the table has none of that name, or several."""
        found = self.columns.count(name)
        if found != 1:
            problem = f"has no column {name!r}.{did_you_mean(name, self.columns)}"
            if found:
                problem = f"names column {name!r} {found} times; rename one"
            raise ValueError(f"{self.file} {problem}")
        return self.cells[self.columns.index(name)]

    def texts(self, name: str) -> tuple[str, ...]:
        """The cells of a column that holds text.

        Raises ValueError, with file and line or row, for a cell that is no string, or none that can be
        written: half a surrogate pair.
        """
        cells = self.column(name)
        if set(map(type, cells)) == {str} and _can_be_written(cells):
            return tuple(cells)
        for place, cell in enumerate(cells):
            if not isinstance(cell, str):
                shown = json.dumps(cell, default=repr)[:60]
                raise ValueError(f"{self.origins[place]}: {name!r} is no string but {shown}")
            if not _can_be_written((cell,)):
                raise ValueError(
                    f"{self.origins[place]}: {name!r} holds half a surrogate pair, which is no text"
                )
        return tuple(cells)


def _can_be_written(texts: Sequence[str]) -> bool:
    try:
        "\n".join(texts).encode()  # a whole column at once: cell by cell takes longer than reading it
    except UnicodeEncodeError:
        return False
    return True
