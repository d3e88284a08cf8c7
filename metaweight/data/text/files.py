"""Sentence pairs from files: tables (see ``read_table``), or two plain files, line by line; packed or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from metaweight.data.origins import Origins
from metaweight.data.tables import Table, read_table
from metaweight.data.tables.content import read_text
from metaweight.data.tables.records import text_lines
from metaweight.data.text.bitext import Bitext

SIDES = (("source", "src"), ("target", "tgt", "trg"))
"""What headers call source and target, whatever the case."""
NESTED = "translation"
"""The column of a table that holds both languages, as the Hugging Face hub has it."""


class ReadPairs(NamedTuple):
    """What a file holds."""

    bitext: Bitext
    notes: str
    """How it was read, where its owner should know; else empty."""


def read_pairs(
    path: str | Path, *, columns: tuple[str, str] | None = None, languages: tuple[str, str] | None = None
) -> ReadPairs:
    """``read_bitext``, and how the file was read.

    ``languages``: without ``columns``, the columns called so are taken where a header has both, also those
    inside of "translation" in JSON Lines and Parquet.
    """
    if columns is not None and len(set(columns)) < 2:
        raise ValueError(f"{path}: source, target are 2 columns, got {columns!r}")
    table = read_table(path, wanted=columns, names=("source", "target"))
    chosen = columns or _named(table, languages)
    if not set(chosen) <= set(table.columns):
        table = read_table(path, wanted=chosen)
    source, target = (table.texts(column) for column in chosen)
    return ReadPairs(Bitext(source, target, table.origins), table.said)


def read_bitext(path: str | Path, *, columns: tuple[str, str] | None = None) -> Bitext:
    """Sentence pairs of a table, each with its origin: .tsv, .csv, .jsonl or .parquet, packed or not.

    ``columns``: source and target column as the file names them (``a.b``: inside of "a").  None takes those
    called source (src) and target (tgt, trg), else the two columns of a table of two, source first, with a
    header or without (not of JSON Lines, whose keys have no order).  Sentences are kept as written.  Raises
    ValueError that names file and line (from 1) for what ``read_table`` refuses, and for a cell that is no
    text.
    """
    return read_pairs(path, columns=columns).bitext


def read_splits(
    path: str | Path, *, columns: tuple[str, str] | None = None, split_column: str | None = None
) -> dict[str, Bitext]:
    """Split -> its sentence pairs, in file order, where one column names each pair's split.

    ``columns`` and ``split_column`` go together: by name, or both None for a table of exactly three columns,
    split, source, target.  Otherwise like ``read_bitext``.
    """
    if (columns is None) != (split_column is None):
        raise ValueError(
            f"columns and split_column go together, got {columns!r} and {split_column!r}; give both or none"
        )
    named = None if columns is None or split_column is None else (split_column, *columns)
    if named is not None and len(set(named)) < len(named):
        raise ValueError(f"{path}: split, source, target are 3 columns, got {named!r}")
    table = read_table(path, wanted=named, names=("split", "source", "target"))
    if len(table.columns) != 3:
        raise _unclear(table, "split, source and target")
    splits, source, target = (table.texts(column) for column in table.columns)
    pairs = Bitext(source, target, table.origins)
    places: dict[str, list[int]] = {}
    for place, split in enumerate(splits):
        places.setdefault(split, []).append(place)
    return {split: pairs.select(chosen) for split, chosen in places.items()}


def read_lines(source_path: str | Path, target_path: str | Path) -> Bitext:
    """Sentence pairs of two plain text files, line by line, packed or not.

    Their origin is the line of the source's file, which is that of the target's too; no line is skipped.
    Raises ValueError for what is no text (file and line), files of different lengths, an empty file.
    """
    paths = source_path, target_path
    source, target = (text_lines(read_text(Path(path).expanduser()).text) for path in paths)
    if len(source) != len(target):
        short = min(len(source), len(target))
        longer, shorter = paths if len(source) > len(target) else paths[::-1]
        raise ValueError(
            f"{longer}, line {short + 1}: no such line in {shorter}, which has {short} lines of "
            f"{max(len(source), len(target))}; both files have one line a pair"
        )
    origins = Origins.of(str(source_path), range(1, len(source) + 1), unit="line")
    return Bitext(tuple(source), tuple(target), origins)


def _named(table: Table, languages: tuple[str, str] | None) -> tuple[str, str]:
    """The columns of source and target in a table that was read without naming them.

    Raises ValueError where that is not clear.
    """
    if languages is not None:
        if table.headed and set(languages) <= set(table.columns):
            return languages
        first = table.column(NESTED)[0] if table.columns.count(NESTED) == 1 else None
        if isinstance(first, Mapping) and set(languages) <= set(first):
            return f"{NESTED}.{languages[0]}", f"{NESTED}.{languages[1]}"
    found = [[name for name in table.columns if name.strip().casefold() in side] for side in SIDES]
    if all(len(names) == 1 for names in found):
        return found[0][0], found[1][0]
    if len(table.columns) != 2 or not table.ordered:
        raise _unclear(table, "source and target")
    return table.columns[0], table.columns[1]


def _unclear(table: Table, wanted: str) -> ValueError:
    return ValueError(
        f"{table.file}: which columns are {wanted} is not clear; name them (columns), it has "
        f"{', '.join(map(repr, table.columns[:20])) or 'none'}"
    )
