"""Rows: the rows of one file or data set as a frame, each with the place that it came from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from metaweight.core.registry import did_you_mean
from metaweight.data.hub_split import load_part
from metaweight.data.origins import Origins
from metaweight.data.tables import Table, is_table, read_table
from metaweight.data.tables.marks import marked
from metaweight.data.tables.plain import read_plain

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Rows:
    """n rows of one source.  Raises ValueError where frame and origins have other lengths."""

    frame: pd.DataFrame
    """[n], the user's columns under the user's names; its index is 0..n-1."""
    origins: Origins
    file: str
    """As the user gave it."""
    notes: tuple[str, ...] = ()
    """What its owner should know of how it was read."""

    def __post_init__(self) -> None:
        if len(self.frame) != len(self.origins):
            raise ValueError(f"{self.file}: {len(self.frame)} rows have {len(self.origins)} origins")

    def __len__(self) -> int:
        return len(self.frame)

    def column(self, name: str) -> pd.Series[Any]:
        """The cells of a column.  Raises ValueError, with the nearest name, where there is none."""
        if name not in self.frame.columns:
            names = [str(column) for column in self.frame.columns]
            raise ValueError(
                f"{self.file} has no column {name!r}.{did_you_mean(name, names)} It has {_listed(names)}"
            )
        return self.frame[name]

    def select(self, mask: np.ndarray[Any, Any]) -> Rows:
        """The rows where ``mask`` [n] bool holds."""
        frame = self.frame[mask].reset_index(drop=True)
        return replace(self, frame=frame, origins=self.origins.select(torch.from_numpy(np.flatnonzero(mask))))

    def without(self, *names: str | None) -> Rows:
        """Without those of the columns ``names`` that there are."""
        return replace(
            self, frame=self.frame.drop(columns=[n for n in names if n is not None], errors="ignore")
        )

    def marked(self, name: str) -> np.ndarray[Any, Any]:
        """[n] bool, which rows column ``name`` marks as trusted.  Raises ValueError as ``tables.marks``."""
        return marked(self.column(name).tolist(), self.origins, name, self.file).numpy()


def read_rows(source: str | Path, part: str = "train") -> Rows:
    """Rows of a table (.csv, .tsv, .jsonl, .parquet, packed or not), ``hf:NAME`` or a saved data set.

    Cells of CSV and TSV are text, others are what the file holds; of a data set with several splits the one
    that is called like the ``part`` is read, or the one that ?split= names.  Raises ValueError that names the
    file, and the line, for what cannot be read.
    """
    given = str(source)
    place = Path(given).expanduser()
    if given.startswith("hf:") or (place / "state.json").is_file() or (place / "dataset_dict.json").is_file():
        return _of_hub(given, part)
    if not place.exists():
        raise ValueError(f"{given}: there is no such file{_nearest(place)}")
    if place.is_dir():
        raise ValueError(f"{given} is a folder and no table: name a file, .csv, .tsv, .jsonl or .parquet")
    if not is_table(place):
        raise ValueError(f"{given}: the name ends in {place.suffix!r}; name a .csv, .tsv, .jsonl or .parquet")
    return of_table(read_plain(given) or read_table(given, headed=True))


def of_table(table: Table) -> Rows:
    """The rows of a table.  Raises ValueError where it names a column twice."""
    import pandas as pd

    twice = [name for name in dict.fromkeys(table.columns) if table.columns.count(name) > 1]
    if twice:
        raise ValueError(f"{table.file} names column {twice[0]!r} several times; rename one")
    frame = pd.DataFrame(
        {name: _series(cells) for name, cells in zip(table.columns, table.cells, strict=True)}
    )
    return Rows(frame, table.origins, table.file, tuple(filter(None, (table.said,))))


def of_frame(frame: pd.DataFrame, name: str) -> Rows:
    """The rows of a DataFrame; their place is the row, from 1, and the label of the index as name."""
    labels = [str(label) for label in frame.index]
    numbered = labels == [str(number) for number in range(len(labels))]
    origins = Origins.of(name, range(1, len(frame) + 1), names=None if numbered else labels)
    plain = frame.reset_index(drop=True)
    plain.columns = [str(column) for column in plain.columns]
    if not plain.columns.is_unique:
        raise ValueError(f"{name} names a column several times: {list(plain.columns)}")
    return Rows(plain, origins, name)


def _of_hub(given: str, part: str) -> Rows:
    import datasets

    found = load_part(given if given.startswith("hf:") else f"hf:{given}", part)
    if not len(found.origins):
        raise ValueError(f"{given} has no row")
    frame = found.rows.to_pandas()
    for name, feature in found.rows.features.items():
        if isinstance(feature, datasets.ClassLabel):  # -1 stands for no label
            frame[name] = [feature.int2str(code) if code >= 0 else None for code in frame[name]]
    return Rows(frame, found.origins, given)


def _series(cells: Sequence[Any]) -> Any:
    """Text and mixed cells stay the objects that they are; numbers become arrays of numbers."""
    import pandas as pd

    if isinstance(cells, pd.api.extensions.ExtensionArray):
        return pd.Series(cells)
    kinds = set(map(type, cells))
    plain = kinds <= {int, float, bool} and len(kinds - {bool}) == len(kinds)
    return pd.Series(list(cells), dtype=None if plain else object)


def _nearest(place: Path) -> str:
    if not place.parent.is_dir():
        return f", nor a folder {place.parent}"
    names = [entry.name for entry in place.parent.iterdir()]
    hint = did_you_mean(place.name, names)
    return f".{hint}" if re.search(r"\w", hint) else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more
