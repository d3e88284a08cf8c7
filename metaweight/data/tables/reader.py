"""The one reader of tables: CSV, TSV, JSON Lines and Parquet, packed or not."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from metaweight.core.registry import did_you_mean
from metaweight.data.origins import Origins
from metaweight.data.tables.content import PACKED, Content, kind_of, read_bytes, read_text
from metaweight.data.tables.dialect import NAMES, delimiter_of, quotes_of
from metaweight.data.tables.header import is_header
from metaweight.data.tables.json_lines import by_column, read_objects
from metaweight.data.tables.nested import Missing, value_at
from metaweight.data.tables.records import Records, plain_records, quoted_records
from metaweight.data.tables.table import Table

KINDS = (".tsv", ".csv", ".jsonl", ".ndjson", ".parquet")
"""Endings of tables, each also with one of ``PACKED`` behind it."""
SHOWN = 8
"""Columns that are named in a note."""


def is_table(path: str | Path) -> bool:
    """Whether a file's name is that of a table."""
    return kind_of(Path(path)) in KINDS


def peek_table(path: str | Path, *, characters: int = 2**18) -> Table:
    """The first rows of a table with a header, as many as so many characters hold (of Parquet all)."""
    place = Path(path).expanduser()
    if kind_of(place) == ".parquet":
        return read_table(path)
    content = read_text(place)
    cut = content.text.rfind("\n", 0, characters) + 1
    if len(content.text) <= characters or not cut:
        return read_table(path, headed=True)
    try:
        short = content._replace(text=content.text[:cut])
        return _of_text(short, kind_of(place), str(path), None, None, headed=True)
    except ValueError:  # the cut went through a field in quotes
        return read_table(path, headed=True)


def read_table(
    path: str | Path,
    *,
    wanted: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    headed: bool = False,
) -> Table:
    """The rows of a table, each with the line that it begins at (Parquet: its row), from 1.

    ``wanted``: the columns to read, as the file names them, in this order; ``a.b`` is the key "a.b" of JSON
    Lines or Parquet, or "b" inside of "a".  None reads all of them, and a CSV or TSV may then lack a header
    (see ``is_header``): its columns are called ``names``, which also says how many there are, or "1", "2".
    ``headed``: they do not lack one.

    CSV is RFC 4180, cut as ``delimiter_of`` says; TSV is cut at tabs, and its quotes are text unless
    ``quotes_of`` finds that a writer of CSV put them there.  UTF-8, or what the byte order mark says.  Lines
    without anything on them are skipped and counted in ``notes``.  Raises ValueError that names file and
    line for what cannot be read, with what to do.
    """
    place, file = Path(path).expanduser(), str(path)
    kind = kind_of(place)
    if kind not in KINDS:
        packs = ", ".join(sorted(PACKED))
        raise ValueError(
            f"{file}: the name ends in {kind or 'nothing'!r}; use .tsv, .csv, .jsonl or .parquet, also with "
            f"one of {packs} behind, or two plain files, one a language"
        )
    if kind == ".parquet":
        return _parquet(place, file, wanted)
    return _of_text(read_text(place), kind, file, wanted, names, headed=headed)


def _of_text(
    content: Content,
    kind: str,
    file: str,
    wanted: Sequence[str] | None,
    names: Sequence[str] | None,
    *,
    headed: bool,
) -> Table:
    notes = [] if content.encoding == "UTF-8" else [f"it is {content.encoding}"]
    if kind in (".jsonl", ".ndjson"):
        return _json_lines(content.text, file, wanted, notes)
    if kind == ".csv":
        delimiter = delimiter_of(content.text, wanted)
        if delimiter.character != ",":
            cut = NAMES.get(delimiter.character, repr(delimiter.character))
            notes.append(f"its fields are cut at {cut}")
        records = quoted_records(content.text, delimiter.character, file, skip=delimiter.skip)
    else:
        quotes = quotes_of(content.text)
        notes += [quotes.note] if quotes.note else []
        records = quotes.records or plain_records(content.text)
    return _delimited(records, file, wanted, names, notes, headed)


def _delimited(
    records: Records,
    file: str,
    wanted: Sequence[str] | None,
    names: Sequence[str] | None,
    notes: list[str],
    headed: bool,
) -> Table:
    lines, rows = records.lines, records.fields
    if not rows:
        raise ValueError(f"{file} holds blank lines and no row")
    said = wanted is not None or headed
    headed = said or is_header(rows[0], islice(rows, 1, None))
    notes += [_blank(records.blank)] if records.blank else []
    if headed:
        columns = tuple(rows[0])
        chosen = columns if wanted is None else tuple(wanted)
        places = [_place(file, lines[0], column, columns) for column in chosen] if wanted else None
        width, like = len(columns), " as in the header"
        notes += [] if said else [f"line {lines[0]} is its header ({_listed(columns)})"]
        lines, rows = lines[1:], rows[1:]
        if not rows:
            raise ValueError(f"{file} holds a header and no row")
    else:
        width, like = len(rows[0]), f" as in line {lines[0]}"
        if names is not None:
            width = len(names)
            like = f" ({', '.join(names)}; a file with a header needs its columns named)"
        chosen = tuple(map(str, range(1, width + 1))) if names is None else tuple(names)
        places = None
    if set(map(len, rows)) != {width}:
        line, row = next((line, row) for line, row in zip(lines, rows, strict=True) if len(row) != width)
        raise ValueError(f"{file}, line {line}: {len(row)} fields, expected {width}{like}")
    cells = tuple(tuple(map(itemgetter(place), rows)) for place in places or range(width))
    return Table(file, chosen, cells, Origins.of(file, lines, unit="line"), headed, notes=tuple(notes))


def _place(file: str, line: int, column: str, header: Sequence[str]) -> int:
    if header.count(column) != 1:
        problem = f"has no column {column!r}.{did_you_mean(column, header)}"
        if column in header:
            problem = f"names column {column!r} {header.count(column)} times; rename one"
        raise ValueError(f"{file}, line {line}: the header {problem}")
    return header.index(column)


def _json_lines(text: str, file: str, wanted: Sequence[str] | None, notes: list[str]) -> Table:
    found = read_objects(text, file)
    if not found.values:
        raise ValueError(f"{file} holds blank lines and no object")
    notes += [_blank(found.blank)] if found.blank else []
    keys = tuple(found.values[0]) if wanted is None else tuple(wanted)
    cells = by_column(found, keys, file, strict=wanted is not None)
    origins = Origins.of(file, found.lines, unit="line")
    return Table(file, keys, tuple(cells), origins, ordered=False, notes=tuple(notes))


def _parquet(place: Path, file: str, wanted: Sequence[str] | None) -> Table:
    import pyarrow  # heavy, and seldom needed
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(io.BytesIO(read_bytes(place)))
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(f"{file} is no whole Parquet file: {error}") from error
    if not table.num_rows:
        raise ValueError(f"{file} has no row")
    columns = tuple(table.column_names)
    keys = columns if wanted is None else tuple(wanted)
    cells = [_parquet_column(table, file, key, columns) for key in keys]
    return Table(file, keys, tuple(cells), Origins.of(file, range(1, table.num_rows + 1)))


def _parquet_column(table: Any, file: str, key: str, columns: Sequence[str]) -> list[Any]:
    outer = key if key in columns else key.partition(".")[0]
    if columns.count(outer) == 1:
        values = table.column(outer).to_pylist()
        if outer == key:
            return list(values)
        try:
            return [value_at({outer: value}, key) for value in values]
        except Missing as error:
            raise ValueError(f"{file} has no {key!r}.{did_you_mean(error.args[0], error.known)}") from None
    raise ValueError(f"{file} has no column {key!r}.{did_you_mean(key, columns)}")


def _listed(columns: Sequence[str]) -> str:
    """Names of columns, of many the first ones."""
    more = ", ..." if len(columns) > SHOWN else ""
    return ", ".join(columns[:SHOWN]) + more


def _blank(lines: int) -> str:
    return f"{lines:,} blank {'line' if lines == 1 else 'lines'} skipped"
