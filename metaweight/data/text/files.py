"""Sentence pairs from files: TSV, CSV and JSON Lines, or two plain files; each also as .gz or .xz."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from metaweight.core.registry import did_you_mean
from metaweight.data.text.bitext import Bitext

Row = tuple[int, list[str]]  # the line that it starts at, from 1, and its fields
_OPENERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.decompress, ".xz": lzma.decompress}


def read_bitext(path: str | Path, *, columns: tuple[str, str] | None = None) -> Bitext:
    """Sentence pairs of a .tsv, .csv or .jsonl file, as UTF-8, also .gz or .xz.

    ``columns``: source and target column as the header (JSON Lines: the keys) names them; None reads a table
    without header of exactly two columns, source first.  TSV is cut at tabs and line ends alone, nothing is
    quoted; CSV is RFC 4180, so that a quoted field may hold line ends.  Sentences are kept as written.
    Raises ValueError that names file and line (from 1) for invalid UTF-8, JSON or quoting, a wrong number of
    fields, and a key that is missing or no string; for a missing column; for a missing, broken or empty file.
    """
    rows = _rows(Path(path), columns, ("source", "target"))
    return Bitext(tuple(row[0] for row in rows), tuple(row[1] for row in rows))


def read_splits(
    path: str | Path, *, columns: tuple[str, str] | None = None, split_column: str | None = None
) -> dict[str, Bitext]:
    """Split -> its sentence pairs, in file order, where one column names each pair's split.

    ``columns`` and ``split_column`` go together: by name, or both None for a table without header of exactly
    three columns, split, source, target.  Otherwise like ``read_bitext``.
    """
    if (columns is None) != (split_column is None):
        raise ValueError(
            f"columns and split_column go together, got {columns!r} and {split_column!r}; give both or none"
        )
    named = None if columns is None or split_column is None else (split_column, *columns)
    sides: dict[str, tuple[list[str], list[str]]] = {}
    for split, source, target in _rows(Path(path), named, ("split", "source", "target")):
        pairs = sides.setdefault(split, ([], []))
        pairs[0].append(source)
        pairs[1].append(target)
    return {split: Bitext(tuple(source), tuple(target)) for split, (source, target) in sides.items()}


def read_lines(source_path: str | Path, target_path: str | Path) -> Bitext:
    """Sentence pairs of two plain text files, line by line, as UTF-8, also .gz or .xz.

    Raises ValueError for invalid UTF-8 (file and line), files of different lengths, an empty file.
    """
    paths = Path(source_path), Path(target_path)
    source, target = (_lines(_text(path)) for path in paths)
    if len(source) != len(target):
        short = min(len(source), len(target))
        longer, shorter = paths if len(source) > len(target) else paths[::-1]
        raise ValueError(
            f"{longer}, line {short + 1}: no such line in {shorter}, which has {short} lines of "
            f"{max(len(source), len(target))}; both files have one line a pair"
        )
    return Bitext(tuple(source), tuple(target))


def _rows(path: Path, columns: tuple[str, ...] | None, meaning: tuple[str, ...]) -> list[list[str]]:
    """The wanted fields of each row, in the order of ``columns``."""
    kind = path.with_suffix("").suffix if path.suffix in _OPENERS else path.suffix
    if kind not in (".tsv", ".csv", ".jsonl"):
        raise ValueError(
            f"{path}: the name ends in {kind or 'nothing'!r}; use .tsv, .csv or .jsonl, also .gz or .xz, "
            "or two plain files, one a language"
        )
    if columns is not None and len(set(columns)) < len(meaning):
        raise ValueError(f"{path}: {', '.join(meaning)} are {len(meaning)} columns, got {columns!r}")
    if kind == ".jsonl":
        if columns is None:
            raise ValueError(f"{path}: JSON Lines has no order of its keys; name the columns")
        return [_values(path, number, line, columns) for number, line in enumerate(_lines(_text(path)), 1)]
    rows = _tsv(_text(path)) if kind == ".tsv" else _csv(_text(path), path)
    width, places = len(meaning), list(range(len(meaning)))
    expected = f"{width} ({', '.join(meaning)}; a file with a header needs its columns named)"
    if columns is not None:
        _, header = next(rows)
        for column in columns:
            if header.count(column) != 1:
                problem = f"has no column {column!r}.{did_you_mean(column, header)}"
                if column in header:
                    problem = f"names column {column!r} {header.count(column)} times; rename one"
                raise ValueError(f"{path}, line 1: the header {problem}")
        width, places = len(header), [header.index(column) for column in columns]
        expected = f"{width} as in the header"
    found = []
    for number, fields in rows:
        if len(fields) != width:
            raise ValueError(f"{path}, line {number}: {len(fields)} fields, expected {expected}")
        found.append([fields[place] for place in places])
    if not found:
        raise ValueError(f"{path} holds a header and no row")
    return found


def _tsv(text: str) -> Iterator[Row]:
    for number, line in enumerate(_lines(text), 1):
        yield number, line.split("\t")


def _csv(text: str, path: Path) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    # the limit is a setting of the whole process, so it is put back
    before = csv.field_size_limit(max(len(text), 1))
    try:
        rows, start = [], 1
        for fields in reader:
            rows.append((start, fields))
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {start}: invalid CSV: {error}") from error
    finally:
        csv.field_size_limit(before)
    yield from rows


def _values(path: Path, number: int, line: str, keys: tuple[str, ...]) -> list[str]:
    """The strings that one line of JSON has under ``keys``."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}, line {number}: invalid JSON: {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{path}, line {number}: expected an object, got {line[:60]!r}")
    for key in keys:
        if key not in row:
            raise ValueError(f"{path}, line {number}: no key {key!r}.{did_you_mean(key, row)}")
        if not isinstance(row[key], str):
            raise ValueError(f"{path}, line {number}: {key!r} is no string but {json.dumps(row[key])[:60]}")
        if any("\ud800" <= character <= "\udfff" for character in row[key]):
            raise ValueError(f"{path}, line {number}: {key!r} holds half a surrogate pair, which is no text")
    return [row[key] for key in keys]


def _lines(text: str) -> list[str]:
    """Lines that end in a newline, or in return and newline; nothing else ends one (U+2028 does not)."""
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _text(path: Path) -> str:
    """A whole file as text, without a byte order mark."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    data = path.read_bytes()
    if path.suffix in _OPENERS:
        try:
            data = _OPENERS[path.suffix](data)
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise ValueError(f"{path} is no whole {path.suffix} file: {error}") from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise ValueError(
            f"{path}, line {line}: invalid UTF-8 at byte {byte} of the line "
            f"(0x{data[error.start]:02x}); convert the file to UTF-8"
        ) from error
    if not text:
        raise ValueError(f"{path} is empty")
    return text
