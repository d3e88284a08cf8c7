"""Tables as CSV by column: the bytes of ``csv_text``, where a row at a time takes too long."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from metaweight.core.csv_text import csv_rows, csv_text, number_as_cell, read_text, writable

BLOCK = 1 << 16
"""Rows that are text in memory at a time."""
ROOM = 1 << 24
"""Bytes that are read at a time."""


def write_by_column(file: IO[bytes], columns: Mapping[str, Any], order: Any = None) -> None:
    """Write two or more ``columns`` [n], NumPy or pyarrow arrays or lists: the rows ``order`` [m], or all.

    Cells are what ``csv_text`` makes of them, NumPy's floats what ``number_as_cell`` does.
    """
    count = len(next(iter(columns.values()))) if order is None else len(order)
    slices = (slice(start, start + BLOCK) for start in range(0, count, BLOCK))
    each = slices if order is None else (np.asarray(order[block]) for block in slices)
    write_blocks(
        file,
        list(columns),
        ({name: _picked(column, rows) for name, column in columns.items()} for rows in each),
    )


def write_blocks(file: IO[bytes], names: Sequence[str], blocks: Iterable[Mapping[str, Any]]) -> int:
    """Write a table whose columns ``names`` come some rows at a time; gives how many rows they were.

    Cells as in ``write_by_column``.
    """
    import pyarrow
    from pyarrow import compute

    comma, nothing, end = (pyarrow.scalar(text, pyarrow.large_string()) for text in (",", "", "\n"))
    file.write(csv_text(names, []).encode())
    count = 0
    for block in blocks:
        cells = [_texts(block[name]) for name in names]
        lines = compute.binary_join_element_wise(*cells, comma)
        file.write(compute.binary_join_element_wise(lines, nothing, end).buffers()[2])
        count += len(lines)
    return count


def listed(column: Any, order: Any) -> list[Any]:
    """The cells of a column at ``order`` [m], as Python has them."""
    picked = _picked(column, np.asarray(order))
    cells: list[Any] = picked if isinstance(picked, list) else picked.tolist()
    return cells


def read_columns(path: Path, *, apart: Collection[str] = ()) -> dict[str, Any]:
    """Column -> its cells, a pyarrow ChunkedArray of text, but for those ``apart``; {} where there is no row.

    Raises as ``read_csv``.
    """
    import pyarrow
    from pyarrow import csv as fast

    kind = pyarrow.large_string()
    try:
        with path.open(newline="", encoding="utf-8") as file:
            names = next(csv.reader(file, strict=True))
        table = fast.read_csv(
            path,
            read_options=fast.ReadOptions(use_threads=False, block_size=ROOM),
            parse_options=fast.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=fast.ConvertOptions(
                column_types=dict.fromkeys(names, kind),
                include_columns=[name for name in names if name not in apart],
            ),
        )
        if len(table) and len(set(names)) == len(names):
            return dict(zip(table.column_names, table.columns, strict=True))
    except (pyarrow.ArrowException, ValueError, csv.Error, StopIteration):
        pass  # what is wrong is said below
    rows = list(csv_rows(read_text(path), str(path)))
    names = [name for name in (rows[0] if rows else ()) if name not in apart]
    return {name: pyarrow.chunked_array([[row[name] for row in rows]], kind) for name in names}


def _picked(column: Any, rows: Any) -> Any:
    """The cells of a column at ``rows``: a slice, or an array of positions."""
    if isinstance(rows, slice):
        return column[rows]
    return column.take(rows) if hasattr(column, "take") else [column[row] for row in rows.tolist()]


def _texts(cells: Any) -> Any:
    """Cells as pyarrow's text, with quotes where they need them."""
    import pyarrow

    kind = pyarrow.large_string()
    if isinstance(cells, pyarrow.Array):
        return _quoted(cells.cast(kind).fill_null(""))
    if isinstance(cells, np.ndarray) and cells.dtype.kind == "i":
        return pyarrow.array(cells).cast(kind)
    values = cells.tolist() if isinstance(cells, np.ndarray) else cells
    if isinstance(cells, np.ndarray) and cells.dtype.kind == "f":
        return pyarrow.array(list(map(number_as_cell, values)), kind)
    texts = values
    if set(map(type, values)) != {str}:
        texts = [cell if isinstance(cell, str) else "" if cell is None else str(cell) for cell in values]
    try:
        return _quoted(pyarrow.array(texts, kind))
    except UnicodeEncodeError:
        return _quoted(pyarrow.array(list(map(writable, texts)), kind))


def _quoted(texts: Any) -> Any:
    import pyarrow
    from pyarrow import compute

    special = compute.match_substring_regex(texts, '[",\r\n]')
    if not special.true_count:
        return texts
    quote, nothing = (pyarrow.scalar(text, texts.type) for text in ('"', ""))
    doubled = compute.replace_substring(texts, '"', '""')
    return compute.if_else(special, compute.binary_join_element_wise(quote, doubled, quote, nothing), texts)
