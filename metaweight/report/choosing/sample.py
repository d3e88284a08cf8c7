"""A sample of the user's own data that is as even over the classes as they allow."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metaweight.core.csv_text import csv_text
from metaweight.data.origins import COLUMNS, Origins
from metaweight.data.own_images.found import Wanted
from metaweight.data.own_images.sources import find
from metaweight.data.rows import Rows, read_rows, read_targets
from metaweight.data.rows.parts import label_column
from metaweight.data.rows.targets import Targets, is_empty_cell, of_distinct
from metaweight.data.seeding import derive
from metaweight.data.splits import draw_per_class, even_counts

OF_EACH = 10
"""Rows of each class that are drawn by default, where that is more than ``SIZE``."""
SIZE = 100
PICTURE = "picture"
"""Column of a picture's path."""


@dataclass(frozen=True, eq=False)
class Sample:
    """n rows to be checked."""

    place: str
    """The data that they were drawn from."""
    label: str
    """Column of the labels; "" where rows have none."""
    columns: tuple[str, ...]
    """Of the table, those of its owner."""
    cells: tuple[tuple[Any, ...], ...]
    """n rows of them."""
    origins: Origins | None
    """None where the rows say themselves where they are: pictures."""
    classes: tuple[str, ...]
    """() where labels are numbers, or there are none."""
    open: Callable[[int], object] | None = None
    """Position -> the picture."""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.cells)


def choose(
    place: str, *, label: str | None = None, size: int | None = None, seed: int = 0, task: str = "tabular"
) -> Sample:
    """Draw ``size`` rows of ``place``; ``task``: what they are for, see ``guess_task``.

    Of each class as many as the others, as far as they are there; of numbers evenly from low to high; of rows
    without labels any.  Raises ValueError for a size below 1 or beyond what there is, and as readers do.
    """
    if task == "image":
        return _of_pictures(place, label, size, seed)
    rows = read_rows(place)
    if task == "translation":
        picked = _draw(torch.zeros(len(rows), dtype=torch.int64), 1, size, place, seed)
        return _sample(rows, picked, "", (), (f"{len(picked)} of {len(rows):,} rows, at random",))
    label = label_column(rows) if label is None else label
    known = rows.select(~of_distinct(is_empty_cell, rows.column(label)).astype(bool))
    if not len(known):
        raise ValueError(f"{place}: {label!r} is empty in every row: which column has the labels (--label)?")
    cells = list(known.column(label))
    targets = read_targets(cells, label, known.origins)
    groups, count = _groups(targets, targets.encode(cells, known.origins, "training"))
    picked = _draw(groups, count, size, place, seed)
    classes = () if targets.kind == "number" else targets.classes
    return _sample(known, picked, label, classes, (targets.note, *_of_each(groups[picked], classes)))


def _sample(
    rows: Rows, picked: Tensor, label: str, classes: tuple[str, ...], notes: tuple[str, ...]
) -> Sample:
    frame = rows.frame.iloc[picked.numpy()]
    cells = tuple(tuple("" if cell is None or cell != cell else cell for cell in row) for row in frame.values)
    origins = rows.origins.select(picked)
    return Sample(rows.file, label, tuple(map(str, frame.columns)), cells, origins, classes, notes=notes)


def _of_pictures(place: str, label: str | None, size: int | None, seed: int) -> Sample:
    found = find("train", place, Wanted(label=label))
    names = tuple(sorted({name for name in found.labels if name}))
    known = [position for position, name in enumerate(found.labels) if name]
    groups = torch.tensor([names.index(found.labels[position]) for position in known], dtype=torch.int64)
    picked = _draw(groups, len(names), size, place, seed)
    chosen = found.select([known[position] for position in picked.tolist()])
    opened = [chosen.open(position) for position in range(len(picked))]
    paths = [one.get("path") if isinstance(one, Mapping) else one for one in opened]
    if not all(isinstance(path, str | os.PathLike) and os.path.isfile(path) for path in paths):
        raise ValueError(f"{place}: its pictures are no files of their own, so a list cannot name them")
    cells = tuple((os.path.abspath(str(path)), name) for path, name in zip(paths, chosen.labels, strict=True))
    notes = (*found.notes, *_of_each(groups[picked], names))
    return Sample(place, "label", (PICTURE, "label"), cells, None, names, chosen.open, notes)


def _groups(targets: Targets, values: Tensor) -> tuple[Tensor, int]:
    """Among which rows the sample is to be even: classes, or tenths of the numbers."""
    if targets.kind in ("classes", "one-logit"):
        return values.long(), len(targets.classes)
    if targets.kind == "number":
        rank = values.argsort(stable=True).argsort()
        return rank * OF_EACH // len(values), OF_EACH
    return torch.zeros(len(values), dtype=torch.int64), 1


def _draw(groups: Tensor, count: int, size: int | None, place: str, seed: int) -> Tensor:
    """Positions, in the order of the file."""
    wanted = min(max(SIZE, OF_EACH * count), len(groups)) if size is None else size
    if not 1 <= wanted <= len(groups):
        raise ValueError(f"{place} has {len(groups):,} rows with a label, asked for {wanted:,} (--size)")
    generator = derive(seed, "trusted")
    available = torch.bincount(groups, minlength=count)
    return draw_per_class(groups, even_counts(available, wanted, generator=generator), generator=generator)


def _of_each(groups: Tensor, classes: Sequence[str]) -> tuple[str, ...]:
    """How many were drawn of each class."""
    if not classes or len(classes) > len(groups):
        return ()
    counts = torch.bincount(groups, minlength=len(classes)).tolist()
    if max(counts) - min(counts) <= 1:
        return (f"{min(counts)} rows or one more of each class",)
    return ("rows: " + ", ".join(f"{n} of {name!r}" for n, name in zip(counts, classes, strict=True)),)


def sample_csv(sample: Sample) -> str:
    """The rows as a file of trusted rows: where they are, the user's columns, labels to be put right."""
    if sample.origins is None:
        return csv_text(sample.columns, sample.cells)
    places = (origin.cells for origin in sample.origins)
    rows = ((*place, *cells) for place, cells in zip(places, sample.cells, strict=True))
    return csv_text((*_free(sample), *sample.columns), rows)


def _free(sample: Sample) -> tuple[str, ...]:
    """What the columns that say where a row is are called: as ever, unless the user has such ones."""
    return tuple(f"from_{name}" if name in sample.columns else name for name in COLUMNS)
