"""What a run's folder keeps of the user's rows beside their weights: their own columns, names of classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from metaweight.core.csv_text import csv_rows, read_text
from metaweight.tasks.class_names import CLASSES
from metaweight.tasks.rows.results import OURS, ROWS

PAIRS = "pairs.csv"


def own_columns(folder: Path, index: Sequence[int]) -> dict[str, list[str]] | None:
    """Column -> its cells for the rows of ``index``: those of rows.csv that are the user's own, or source and
    target of pairs.csv; None where the folder has neither.

    Raises ValueError where the file lacks a row of ``index``, or columns.
    """
    if (folder / ROWS).is_file():
        return _columns(folder / ROWS, index, None)
    if (folder / PAIRS).is_file():
        return _columns(folder / PAIRS, index, ("source", "target"))
    return None


def _columns(path: Path, index: Sequence[int], wanted: tuple[str, ...] | None) -> dict[str, list[str]]:
    rows: dict[str, tuple[str, ...]] = {}
    asked, names = set(map(str, index)), wanted
    for row in csv_rows(read_text(path), str(path)):
        if names is None:
            names = tuple(name for name in row if name not in OURS)
        lacking = [name for name in ("index", *names) if name not in row]
        if lacking:
            raise ValueError(f"{path} is damaged: it has no column {', '.join(lacking)}")
        if row["index"] in asked:
            rows[row["index"]] = tuple(row[name] for name in names)
    missing = [number for number in index if str(number) not in rows]
    if missing:
        raise ValueError(
            f"{path} is damaged: it lacks {len(missing):,} of {len(index):,} rows, the first that of index "
            f"{missing[0]}; train again"
        )
    cells = zip(*(rows[str(number)] for number in index), strict=True)
    return {name: list(column) for name, column in zip(names or (), cells, strict=True)}


def class_names(folder: Path) -> tuple[str, ...] | None:
    """Of classes.json; None where there is none.  Raises ValueError where it is no list of names."""
    path = folder / CLASSES
    if not path.is_file():
        return None
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path} is damaged: it is no list of names of classes")
    return tuple(names)
