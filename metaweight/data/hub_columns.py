"""Columns of a data set of the Hugging Face hub, or on disk, as its library ``datasets`` holds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def column_of(features: Mapping[str, Any], kind: type, text: str, *, what: str, way: str) -> str:
    """The one column of type ``kind``.

    ``text``: the data set, ``what``: the column in a word, ``way``: how it is named (``?image=COLUMN``).
    Raises ValueError where there is none, or several.
    """
    matches = [name for name, feature in features.items() if isinstance(feature, kind)]
    if len(matches) != 1:
        have = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
        raise ValueError(
            f"{text} has {len(matches)} columns of type {kind.__name__}; name the {what} column with "
            f"{way}. Columns: {have}"
        )
    return matches[0]


def undecoded(rows: Any, column: str, text: str) -> Any:
    """A ``datasets.Dataset`` of one column of pictures alone, each as it lies in the file.

    Raises ValueError where the column holds no pictures.
    """
    import datasets

    try:
        pictures = rows.cast_column(column, datasets.Image(decode=False))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{text}: column {column!r} holds {rows.features[column]}, no images") from error
    return pictures.select_columns([column])


def file_name(cell: Any, root: Path) -> str:
    """What the file of a picture is called, below ``root`` where it lies there; empty where it has none."""
    path = (cell or {}).get("path")
    if not path:
        return ""
    file = Path(path)
    return str(file.relative_to(root)) if file.is_relative_to(root) else file.name
