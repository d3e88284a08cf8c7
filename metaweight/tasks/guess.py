"""Which task a user's files are for, where nobody says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metaweight.data.own_images.folders import is_picture
from metaweight.data.rows import Rows, read_rows
from metaweight.data.rows.parts import LABELS
from metaweight.data.rows.source import of_table
from metaweight.data.tables import is_table, peek_table
from metaweight.data.tables.content import kind_of

TOKENS = (".bio", ".conll", ".conllu", ".iob", ".iob2")
SENTENCE = 25
"""Characters of a column's median cell, from which on it holds text and no categories."""
VARIED = 0.5
"""Share of its cells that differ."""
TEXTS = ("text", "sentence", "review", "comment", "message", "headline", "question", "document")


class Guess(NamedTuple):
    """A task, and why."""

    task: str
    why: str


def guess_task(train: Sequence[str], label: str | None = None) -> Guess:
    """The task that the training data ``train`` (one place, or two files) are for.

    Raises ValueError, with the names of the tasks, where that cannot be told; as ``read_rows`` too.
    """
    given = train[0]
    place = Path(given).expanduser()
    if len(train) == 2 or ("," in given and not place.exists()):
        return Guess("translation", "two files, one of each side")
    if place.is_dir() and not any((place / name).is_file() for name in ("state.json", "dataset_dict.json")):
        return Guess("image", "a folder of classes with pictures")
    if is_picture(place.name):
        return Guess("image", "a picture")
    if "idx3" in place.name or "idx1" in place.name:
        return Guess("image", "an IDX file of pictures")
    if kind_of(place) in TOKENS:
        return Guess("tokens", f"{kind_of(place)} holds a label a token")
    if place.is_file() and not is_table(place):
        raise ValueError(
            f"{given}: which task is it for? Its name ends in {place.suffix!r}: say --task tokens where a "
            "line holds a token and its label; a table is .csv, .tsv, .jsonl or .parquet"
        )
    rows = of_table(peek_table(given)) if is_table(place) and place.is_file() else read_rows(given)
    return guess_of_rows(rows, label)


def guess_of_rows(rows: Rows, label: str | None) -> Guess:
    """The task that rows already read are for."""
    names = [str(name) for name in rows.frame.columns]
    named = [name for name in names if name.strip().casefold() in LABELS]
    label = label or (named[0] if len(named) == 1 else None)
    others = [name for name in names if name != label]
    cells = {name: [cell for cell in rows.frame[name].head(200) if cell is not None] for name in others}
    if any(map(_are_pictures, cells.values())):
        return Guess("image", "a column holds pictures")
    if any(map(_are_lists, cells.values())):
        return Guess("tokens", "a column holds lists of tokens")
    if label is None and _are_pairs(cells):
        return Guess("translation", "two columns of text and none of labels")
    texts = [name for name in others if _is_text(name, cells[name])]
    if texts and all(name in texts or _says_nothing(cells[name]) for name in others):
        return Guess("text", f"beside the label it has text, {', '.join(map(repr, texts[:2]))}")
    return Guess("tabular", "a table of columns" + (f" with the label {label!r}" if label else ""))


def _are_pictures(cells: Sequence[Any]) -> bool:
    if cells and isinstance(cells[0], dict) and {"bytes", "path"} <= set(cells[0]):
        return True
    return bool(cells) and all(is_picture(str(cell).strip()) for cell in cells)


def _are_lists(cells: Sequence[Any]) -> bool:
    kinds = {type(cell).__name__ for cell in cells}
    return bool(cells) and kinds <= {"list", "ndarray"} and all(isinstance(word, str) for word in cells[0])


def _are_pairs(cells: dict[str, list[Any]]) -> bool:
    if any(isinstance(column[0], dict) and len(column[0]) == 2 for column in cells.values() if column):
        return True  # {"de": ..., "en": ...}
    return len(cells) == 2 and all(_is_text("", column) for column in cells.values())


def _is_text(name: str, cells: Sequence[Any]) -> bool:
    words = [cell for cell in cells if isinstance(cell, str)]
    if len(words) < len(cells) or not words:
        return False
    lengths = sorted(map(len, words))
    called = name.strip().casefold() in TEXTS
    long = lengths[len(lengths) // 2] >= SENTENCE or called
    return long and len(set(words)) >= VARIED * len(words) and not _are_numbers(words)


def _are_numbers(words: Sequence[str]) -> bool:
    try:
        return all(isinstance(float(word), float) for word in words)
    except ValueError:
        return False


def _says_nothing(cells: Sequence[Any]) -> bool:
    """Whether a column only numbers the rows: every cell differs, and all are whole numbers."""
    words = [str(cell) for cell in cells]
    return len(set(words)) == len(words) and all(word.isdecimal() for word in words)
