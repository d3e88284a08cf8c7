"""Which column of labelled rows holds the text."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from metaweight.data.rows import Rows

NAMES = (
    "text",
    "sentence",
    "content",
    "document",
    "message",
    "comment",
    "review",
    "headline",
    "body",
    "tweet",
)
"""What columns of text are called, in any case."""
PAIRS = (
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "answer"),
    ("question", "sentence"),
)
"""The same of two columns that make a pair."""
LONG, DISTINCT, LOOKED_AT = 12, 0.3, 2_000
"""Free text: cells have so many characters on average and so large a share of them differ, of the first
rows."""


def text_columns(rows: Rows, asked: Sequence[str], beside: Sequence[str]) -> tuple[str, ...]:
    """The column of the text, or the two of a pair: those ``asked`` for, or as they are called and look.

    ``beside``: columns that hold something else.  Raises ValueError, with the columns that there are, where
    it is not clear, and for more than two.
    """
    if asked:
        if len(asked) > 2 or len(set(asked)) < len(asked):
            raise ValueError(f"a text is one column, or a pair of two, got {', '.join(asked)} (text)")
        for name in asked:
            rows.column(name)
        return tuple(asked)
    names = [str(name) for name in rows.frame.columns if name not in beside]
    plain = {name.strip().casefold(): name for name in names}
    for pair in PAIRS:
        if set(pair) <= plain.keys():
            return plain[pair[0]], plain[pair[1]]
    called = [plain[name] for name in NAMES if name in plain]
    found = called or [name for name in names if is_free_text(rows.frame[name].tolist())]
    if not found and len(names) == 1:
        found = names
    if len(found) != 1:
        which = f"{' and '.join(map(repr, found))} may" if found else "none is called so or holds free text"
        raise ValueError(
            f"{rows.file}: which column holds the text? Say --text COLUMN, or two of a pair ({which}); "
            f"beside the label it has {', '.join(map(repr, names[:12])) or 'none'}"
            f"{', ...' if len(names) > 12 else ''}"
        )
    return (found[0],)


def is_free_text(cells: Sequence[Any]) -> bool:
    """Whether cells are long strings of which many differ."""
    seen = cells[:LOOKED_AT]
    if not all(isinstance(cell, str) or _is_missing(cell) for cell in seen):
        return False
    texts = [cell for cell in seen if isinstance(cell, str) and cell.strip()]
    return bool(texts) and fmean(map(len, texts)) >= LONG and len(set(texts)) >= DISTINCT * len(texts)


def texts_of(rows: Rows, column: str) -> list[str]:
    """The cells of a column as text, empty where they are missing.

    Raises ValueError, with the place, for a cell that is no text, or half a surrogate pair.
    """
    texts = []
    for place, cell in enumerate(rows.column(column).tolist()):
        if _is_missing(cell):
            cell = ""
        if not isinstance(cell, str):
            raise ValueError(
                f"{rows.origins[place]}: the text in {column!r} is {str(cell)[:60]!r}, no string but "
                f"{type(cell).__name__}: is it the column of the text (--text)?"
            )
        try:
            cell.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{rows.origins[place]}: {column!r} holds half a surrogate pair, which is no text"
            ) from None
        texts.append(cell)
    return texts


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and cell != cell) or str(cell) == "<NA>"
