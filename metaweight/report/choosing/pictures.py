"""Pictures to be checked: of a folder, or of a table of paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from metaweight.data.own_images.found import Found, Wanted
from metaweight.data.own_images.sources import find, has_columns
from metaweight.report.choosing.drawing import said_of_each
from metaweight.report.choosing.sample import Sample

PICTURE, LABEL = "picture", "label"
"""Columns of a file of trusted pictures, where the user names no others."""


def of_pictures(
    place: str, *, label: str | None, picture: str | None, pick: Callable[[Tensor, int], Tensor]
) -> Sample:
    """``pick(classes [N] int64, how many) -> positions`` draws those of ``place`` that have a class.

    Raises ValueError for one class, for pictures that are no files of their own, and as ``find``.
    """
    found = find("train", place, Wanted(label=label, picture=picture))
    names = tuple(sorted({name for name in found.labels if name}))
    if len(names) < 2:
        have = f"every picture with a label is of class {names[0]!r}" if names else "no picture has a label"
        raise ValueError(f"{place}: {have}: a classifier needs 2 classes or more")
    codes = {name: code for code, name in enumerate(names)}
    known = [position for position, name in enumerate(found.labels) if name]
    groups = torch.tensor([codes[found.labels[position]] for position in known], dtype=torch.int64)
    picked = pick(groups, len(names))
    chosen = found.select([known[position] for position in picked.tolist()])
    paths = [_path(chosen, position) for position in range(len(chosen.labels))]
    return Sample(
        place,
        _columns(label, picture),
        tuple(zip(paths, chosen.labels, strict=True)),
        _columns(label, picture)[1],
        "class",
        names,
        # of a folder the path says it all, and a second column of paths could be taken for the pictures
        chosen.origins if has_columns(place) else None,
        chosen.open,
        (*found.notes, said_of_each(groups, picked, names)),
    )


def _columns(label: str | None, picture: str | None) -> tuple[str, str]:
    """Of the pictures and of the labels: as the training table's, where they are named for it."""
    pictures = picture or ("path" if label == PICTURE else PICTURE)
    return pictures, label or ("class" if pictures == LABEL else LABEL)


def _path(found: Found, position: int) -> str:
    """Where the picture lies, from wherever one looks.  Raises ValueError where it is no file."""
    opened = found.open(position)
    path = opened.get("path") if isinstance(opened, Mapping) else opened
    inside = isinstance(opened, Mapping) and opened.get("bytes") is not None
    if inside or not isinstance(path, str | os.PathLike):
        raise ValueError(
            f"{found.place}: its pictures are no files of their own, so no list can name them: mark those "
            "you check in a column of it, and name that with --meta-column"
        )
    return os.path.abspath(path)
