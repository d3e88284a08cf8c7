"""Where samples came from, as their owner finds them: file and line, row of a data set, name of a picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

COLUMNS = ("file", "row", "name")
"""The first columns of every table for people."""


def place_columns(own: Iterable[str]) -> tuple[str, str, str]:
    """What ``COLUMNS`` are called in a table with the columns ``own``: ``from_file`` beside a file."""
    taken = set(own)
    file, row, name = (_free(column, taken) for column in COLUMNS)
    return file, row, name


def _free(column: str, taken: set[str]) -> str:
    return column if column not in taken else _free(f"from_{column}", taken)


@dataclass(frozen=True)
class Origin:
    """Where one sample came from."""

    file: str
    """A path as the user gave it, or the name of a data set and its split."""
    row: int | None = None
    """From 1: in a text file the line at which the row begins, header and empty lines counted as an editor
    counts them; else the row of the data set.  None where the file is the sample."""
    name: str = ""
    """What the owner calls it: the name of a picture, a key; may be empty."""
    unit: str = "row"
    """``line`` or ``row``: what ``row`` counts."""

    def __str__(self) -> str:
        place = self.file if self.row is None else f"{self.file}, {self.unit} {self.row}"
        return f"{place} ({self.name})" if self.name else place

    @property
    def cells(self) -> tuple[str, str, str]:
        """What ``COLUMNS`` hold."""
        return self.file, "" if self.row is None else str(self.row), self.name


@dataclass(frozen=True, eq=False)
class Origins:
    """Where each of n samples came from; kept through every selection, join and copy.

    Raises ValueError for shapes and units that do not fit together.
    """

    files: tuple[str, ...]
    """Each file once."""
    file: Tensor
    """[n] int64, position in ``files``."""
    row: Tensor
    """[n] int64, from 1; 0 where the file is the sample."""
    names: tuple[str, ...] | None = None
    """n names, or None where no sample has one."""
    unit: str | Sequence[str] = "row"
    """``line`` or ``row``: what ``row`` counts; one for all, or one for each of ``files``."""

    def __post_init__(self) -> None:
        samples = self.file.numel()
        if self.row.shape != (samples,) or (self.names is not None and len(self.names) != samples):
            names = None if self.names is None else len(self.names)
            raise ValueError(f"origins of {samples} samples have {tuple(self.row.shape)} rows, {names} names")
        if not isinstance(self.unit, str) and len(self.unit) != len(self.files):
            raise ValueError(f"origins in {len(self.files)} files have {len(self.unit)} units: give one each")

    @classmethod
    def of(
        cls, file: str, rows: Iterable[int], *, names: Sequence[str] | None = None, unit: str = "row"
    ) -> Origins:
        """Samples of one file, by their ``rows`` from 1."""
        row = torch.tensor(list(rows), dtype=torch.int64)
        return cls((file,), torch.zeros_like(row), row, None if names is None else tuple(names), unit)

    @classmethod
    def of_files(cls, files: Sequence[str]) -> Origins:
        """Samples that are files of their own: pictures of a folder."""
        distinct = tuple(dict.fromkeys(files))
        places = {file: place for place, file in enumerate(distinct)}
        file = torch.tensor([places[file] for file in files], dtype=torch.int64)
        return cls(distinct, file, torch.zeros_like(file))

    def __len__(self) -> int:
        return len(self.file)

    def __getitem__(self, position: int) -> Origin:
        row, file = int(self.row[position]), int(self.file[position])
        name = "" if self.names is None else self.names[position]
        return Origin(self.files[file], row or None, name, self.units[file])

    def __iter__(self) -> Iterator[Origin]:
        names, units = self.names or ("",) * len(self), self.units
        places = zip(self.file.tolist(), self.row.tolist(), names, strict=True)
        return (Origin(self.files[file], row or None, name, units[file]) for file, row, name in places)

    @property
    def units(self) -> Sequence[str]:
        """``line`` or ``row``, one for each of ``files``."""
        return (self.unit,) * len(self.files) if isinstance(self.unit, str) else self.unit

    def columns(self) -> dict[str, Any]:
        """``COLUMNS`` -> arrays [n] of their cells, for CSV by column."""
        import pyarrow
        from pyarrow import compute

        row = pyarrow.array(self.row.numpy())
        numbers = compute.if_else(compute.equal(row, 0), "", row.cast(pyarrow.string()))
        files = np.array(self.files, dtype=object)[self.file.numpy()]
        return {"file": files, "row": numbers, "name": self.names or np.full(len(self), "", dtype=object)}

    def cells(self) -> list[tuple[str, str, str]]:
        """What ``COLUMNS`` hold of each sample."""
        names = self.names or ("",) * len(self)
        places = zip(self.file.tolist(), self.row.tolist(), names, strict=True)
        return [(self.files[file], str(row) if row else "", name) for file, row, name in places]

    def select(self, positions: Tensor | Sequence[int]) -> Origins:
        """Those at ``positions`` [n], in that order, repeats allowed."""
        places = torch.as_tensor(positions, dtype=torch.int64)
        names = None if self.names is None else tuple(self.names[place] for place in places.tolist())
        return Origins(self.files, self.file[places], self.row[places], names, self.unit)

    def join(self, other: Origins) -> Origins:
        """These, then the other's."""
        units = dict(zip(other.files, other.units, strict=True)) | dict(
            zip(self.files, self.units, strict=True)
        )
        files = tuple(dict.fromkeys((*self.files, *other.files)))
        places = {file: place for place, file in enumerate(files)}
        moved = torch.tensor([places[file] for file in other.files], dtype=torch.int64)
        names = None
        if self.names is not None or other.names is not None:
            names = (self.names or ("",) * len(self)) + (other.names or ("",) * len(other))
        unit = self.unit if self.unit == other.unit else tuple(units[file] for file in files)
        file = torch.cat([self.file, moved[other.file]])
        return Origins(files, file, torch.cat([self.row, other.row]), names, unit)


@dataclass(frozen=True)
class LeftOut:
    """Samples that a run does not use, each with its reason."""

    origins: Origins
    reasons: tuple[str, ...]
    """One a sample, in a few words: ``the source is empty``."""
    texts: tuple[str, ...]
    """What the sample says, as far as a person needs it to recognise it; may be empty."""

    def __post_init__(self) -> None:
        if not len(self.origins) == len(self.reasons) == len(self.texts):
            sizes = f"{len(self.origins)}, {len(self.reasons)}, {len(self.texts)}"
            raise ValueError(f"each sample left out has origin, reason and text, got {sizes}")

    @classmethod
    def none(cls) -> LeftOut:
        """Nothing was left out."""
        return cls(Origins.of("", ()), (), ())

    def __len__(self) -> int:
        return len(self.reasons)

    def join(self, other: LeftOut) -> LeftOut:
        """These, then the other's."""
        origins = self.origins.join(other.origins) if len(self) else other.origins
        return LeftOut(origins, self.reasons + other.reasons, self.texts + other.texts)

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The rows of left_out.csv: ``COLUMNS``, reason, text."""
        for origin, reason, text in zip(self.origins, self.reasons, self.texts, strict=True):
            yield (*origin.cells, reason, text)
