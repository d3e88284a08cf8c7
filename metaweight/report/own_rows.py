"""What a run's folder keeps of the user's rows beside their weights: their own columns, names of classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metaweight.core.csv_columns import read_columns
from metaweight.tasks.class_names import CLASSES
from metaweight.tasks.rows.results import OURS, ROWS

PAIRS = "pairs.csv"


def own_columns(folder: Path, index: Any) -> dict[str, Any] | None:
    """Column -> pyarrow's array of its cells for the rows ``index`` [n]: those of rows.csv that are the
    user's own, or source and target of pairs.csv; None where the folder has neither.

    Raises ValueError where the file lacks a row of ``index``, or columns.
    """
    if (folder / ROWS).is_file():
        return _columns(folder / ROWS, index, None)
    if (folder / PAIRS).is_file():
        return _columns(folder / PAIRS, index, ("source", "target"))
    return None


def _columns(path: Path, index: Any, wanted: tuple[str, ...] | None) -> dict[str, Any]:
    import pyarrow
    from pyarrow import compute

    table = read_columns(path, apart={*OURS} - {"index"})
    names = wanted or tuple(name for name in table if name != "index")
    lacking = [name for name in ("index", *names) if name not in table]
    if table and lacking:
        raise ValueError(f"{path} is damaged: it has no column {', '.join(lacking)}")
    there = table.get("index", pyarrow.chunked_array([], pyarrow.large_string()))
    asked = pyarrow.array(index, pyarrow.int64())
    places = compute.index_in(asked.cast(there.type), value_set=there)
    if places.null_count:
        first = asked[places.is_null().index(True).as_py()]
        raise ValueError(
            f"{path} is damaged: it lacks {places.null_count:,} of {len(index):,} rows, the first that of "
            f"index {first}; train again"
        )
    return {name: table[name].take(places).combine_chunks() for name in names}


def name_of_class(label: int, names: Sequence[str]) -> str:
    """Its name; the number itself where it has none."""
    return names[label] if 0 <= label < len(names) else str(label)


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
