"""Rows of sentences: tokens and their labels in two columns, whatever file they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from metaweight.core.registry import did_you_mean
from metaweight.data.rows import Rows, read_rows
from metaweight.data.tables import is_table
from metaweight.data.tables.content import kind_of
from metaweight.data.tokens.bio import LABELS, TOKENS, read_bio


class Sentence(tuple[str, ...]):
    """The tokens of a sentence, or their labels; as text with spaces between."""

    __slots__ = ()

    def __str__(self) -> str:
        return " ".join(self)


def read_sentences(
    file: str, part: str = "train", *, tokens: str | None = None, label: str | None = None
) -> Rows:
    """The sentences of a BIO file, of a table with lists (.jsonl, .parquet), or of ``hf:NAME``.

    ``part``: what they are for, as ``read_rows`` takes it.  ``tokens`` and ``label`` name columns; else those
    that are called so, of a BIO file without header the first and the last.  Of its other columns a sentence
    has the first token's cell.  Raises ValueError that names file and line for what cannot be read.
    """
    place = Path(file).expanduser()
    if not place.is_file() or (is_table(place) and kind_of(place) in (".jsonl", ".ndjson", ".parquet")):
        return as_sentences(read_rows(file, part), tokens=tokens, label=label)
    import pandas as pd

    found = read_bio(file, tokens=tokens, label=label)
    names, token, tag = found.layout.columns, found.layout.token, found.layout.label
    columns: dict[str, list[Any]] = {
        name: [
            Sentence(cells[at] for cells in sentence) if at in (token, tag) else sentence[0][at]
            for sentence in found.sentences
        ]
        for at, name in enumerate(names)
        if found.layout.named or at in (token, tag)
    }
    if not found.layout.named:
        columns = {tokens or "tokens": columns[names[token]], label or "labels": columns[names[tag]]}
    series = {name: pd.Series(cells, dtype=object) for name, cells in columns.items()}
    return Rows(pd.DataFrame(series), found.origins, file, found.notes)


def as_sentences(rows: Rows, *, tokens: str | None = None, label: str | None = None) -> Rows:
    """``rows`` with lists of tokens and of labels as ``Sentence``s.

    Raises ValueError, with the place, for cells that are no lists, or of two lengths.
    """
    import pandas as pd

    token, tag = _named(rows, tokens, TOKENS, "tokens"), _named(rows, label, LABELS, "label")
    read = {name: sentences_of(rows, name) for name in (token, tag)}
    for place, (words, labels) in enumerate(zip(read[token], read[tag], strict=True)):
        if len(words) != len(labels):
            raise ValueError(f"{rows.origins[place]}: {len(words)} tokens have {len(labels)} labels")
    frame = rows.frame.copy(deep=False)
    for name, cells in read.items():
        frame[name] = pd.Series(cells, dtype=object)
    return replace(rows, frame=frame)


def sentences_of(rows: Rows, name: str) -> list[Sentence]:
    """The cells of a column.  Raises ValueError, with the place, for one that is no list."""
    read = []
    for place, cell in enumerate(rows.column(name).tolist()):
        if not isinstance(cell, list | tuple | np.ndarray):
            raise ValueError(f"{rows.origins[place]}: {name!r} is no list of words but {repr(cell)[:60]}")
        read.append(cell if isinstance(cell, Sentence) else Sentence(map(str, cell)))
    return read


def token_column(rows: Rows, tokens: str | None) -> str:
    """The column of the tokens.  Raises ValueError as ``as_sentences``."""
    return _named(rows, tokens, TOKENS, "tokens")


def label_column(rows: Rows, label: str | None) -> str:
    """The column of the labels.  Raises ValueError as ``as_sentences``."""
    return _named(rows, label, LABELS, "label")


def _named(rows: Rows, asked: str | None, called: Sequence[str], option: str) -> str:
    if asked is not None:
        rows.column(asked)
        return asked
    plain = {str(name).strip().casefold(): str(name) for name in rows.frame.columns}
    found = next((plain[name] for name in called if name in plain), None)
    if found is None:
        raise ValueError(
            f"{rows.file}: which column holds the {'tokens' if option == 'tokens' else 'labels'}? Say "
            f"--{'text' if option == 'tokens' else option} COLUMN.{did_you_mean(option, plain.values())}"
        )
    return found
