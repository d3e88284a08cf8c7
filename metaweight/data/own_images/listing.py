"""Pictures that a table lists: a row a picture, with its path (or the picture itself) and its label."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from metaweight.data.own_images.folders import is_picture
from metaweight.data.own_images.found import Found, Wanted
from metaweight.data.rows.parts import LABELS
from metaweight.data.tables import Table, read_table
from metaweight.data.tables.marks import marked

_PICTURES = "path file filename file_name filepath file_path image image_path img picture picture_path photo"
PICTURES = frozenset(_PICTURES.split())
"""What columns of pictures are called, in small letters."""
LOOKED_AT = 200
"""Rows that tell whether a column holds pictures."""


def find_listing(place: str, wanted: Wanted) -> Found:
    """The pictures of a table; paths are relative to its folder.

    The picture column is by default the one that holds paths of pictures (of several the one that is called
    so), the label column the one that is called ``label``, ``class``, ``target``, ``category`` or ``y``, or
    the only other one.  Raises ValueError where a column is missing or cannot be told.
    """
    table = _headed(read_table(place), wanted)
    picture = _picture_column(table, wanted)
    label = _label_column(table, picture, wanted)
    folder, cells = os.path.dirname(os.path.expanduser(place)), table.column(picture)
    origins = dataclasses.replace(table.origins, names=tuple(map(_name, cells)))
    marks = None
    if wanted.meta_column is not None:
        marks = marked(table.column(wanted.meta_column), origins, wanted.meta_column, place)
    guessed = {"pictures": (picture, wanted.picture), "labels": (label, wanted.label)}
    said = [f"{what} are column {column!r}" for what, (column, chosen) in guessed.items() if chosen is None]
    return Found(
        place,
        lambda position: _picture(cells[position], folder),
        tuple(label_name(cell, origin) for cell, origin in zip(table.column(label), origins, strict=True)),
        origins,
        marks=marks,
        label=label,
        columns={
            name: table.column(name)
            for name in table.columns
            if name not in (label, wanted.meta_column) and (name != picture or _all_text(cells))
        },
        notes=tuple(filter(None, (table.said, f"{place}: {', '.join(said)}" if said else ""))),
        advice="Paths begin at the folder of the table: mend them, or move it there",
    )


def label_name(value: object, where: object) -> str:
    """A label as the name of a class; "" for an empty one.  Raises ValueError for lists and the like."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int | float):
        return str(value).strip()
    raise ValueError(f"{where}: the label is {str(value)[:60]!r}; a picture has one class, text or a number")


def _headed(table: Table, wanted: Wanted) -> Table:
    """The table, with its first row as header where columns are asked for, or that holds no picture as others
    do, or none does."""
    if table.headed:
        return table
    named = (wanted.picture, wanted.label, wanted.meta_column) != (None, None, None)
    first = tuple(str(cells[0]) for cells in table.cells)
    columns = [cells for cells in table.cells if _holds_pictures(cells[1:])]
    if named or not columns or any(not is_picture(str(cells[0]).strip()) for cells in columns):
        return read_table(table.file, wanted=first)
    return table


def _picture_column(table: Table, wanted: Wanted) -> str:
    if wanted.picture is not None:
        _ = table.column(wanted.picture)
        return wanted.picture
    others = [name for name in table.columns if name not in (wanted.label, wanted.meta_column)]
    by_content = [name for name in others if _holds_pictures(table.column(name))]
    called = [name for name in by_content or others if name.strip().lower() in PICTURES]
    for found in (by_content, called):
        if len(found) == 1:
            return found[0]
    raise ValueError(
        f"{table.file} has {len(by_content) or 'no'} columns of paths of pictures: name one with "
        f"--picture COLUMN. Columns: {', '.join(table.columns)}"
    )


def _label_column(table: Table, picture: str, wanted: Wanted) -> str:
    if wanted.label is not None:
        _ = table.column(wanted.label)
        return wanted.label
    others = [name for name in table.columns if name not in (picture, wanted.meta_column)]
    called = [name for name in others if name.strip().lower() in LABELS]
    for found in (called, others):
        if len(found) == 1:
            return found[0]
    raise ValueError(
        f"{table.file}: which column is the label? Name it with --label COLUMN. Columns: "
        f"{', '.join(table.columns)}"
    )


def _holds_pictures(cells: Sequence[Any]) -> bool:
    """Whether at least half of the first cells are paths of pictures, or pictures."""
    filled = [cell for cell in cells[:LOOKED_AT] if cell not in (None, "")]
    found = sum(
        is_picture(cell.strip())
        if isinstance(cell, str)
        else isinstance(cell, bytes) or (isinstance(cell, Mapping) and "bytes" in cell)
        for cell in filled
    )
    return 2 * found >= len(filled) > 0


def _all_text(cells: Sequence[Any]) -> bool:
    return all(cell is None or isinstance(cell, str) for cell in cells)


def _name(cell: object) -> str:
    """What the owner calls the picture of a cell."""
    if isinstance(cell, Mapping):
        return str(cell.get("path") or "")
    return cell.strip() if isinstance(cell, str) else ""


def _picture(cell: object, folder: str) -> object:
    """A cell as ``read_picture`` takes it."""
    if isinstance(cell, bytes):
        return {"bytes": cell}
    if isinstance(cell, Mapping) and cell.get("bytes") is not None:
        return cell
    path = _name(cell)
    return {"path": os.path.join(folder, os.path.expanduser(path))} if path else None
