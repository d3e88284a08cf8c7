"""The records of a delimited text, each with the line that it begins at; lines end at a newline alone."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

from metaweight.core.csv_text import unlimited_fields
from metaweight.core.plain_text import is_empty

_LONE_RETURN = re.compile("\r(?!\n)")


class Records(NamedTuple):
    """Fields by record."""

    lines: list[int]
    """Where each begins, from 1."""
    fields: list[list[str]]
    blank: int
    """Lines without anything on them, which are no records."""


def text_lines(text: str) -> list[str]:
    """Lines that end in a newline, or in return and newline; nothing else ends one (U+2028 does not)."""
    lines = text.removesuffix("\n").split("\n")
    return [line.removesuffix("\r") for line in lines] if "\r" in text else lines


def plain_records(text: str) -> Records:
    """Lines cut at tabs; nothing is quoted."""
    lines = text_lines(text)
    fields = [line.split("\t") for line in lines]
    blank: set[int] = set()
    if 1 in set(map(len, fields)):
        blank = {place for place, row in enumerate(fields) if len(row) == 1 and is_empty(row[0])}
    if not blank:
        return Records(list(range(1, len(fields) + 1)), fields, 0)
    kept = [place for place in range(len(fields)) if place not in blank]
    return Records([place + 1 for place in kept], [fields[place] for place in kept], len(blank))


def quoted_records(text: str, delimiter: str, where: str, *, skip: int = 0) -> Records:
    """RFC 4180: a quoted field may hold line ends.  ``skip``: lines at the top that are no records.

    Raises ValueError, with ``where`` and the line, for quotes that do not fit together.
    """
    lines: list[int] = []
    rows: list[list[str]] = []
    blank, start = 0, 1
    try:
        for end, fields in parsed(text, delimiter):
            if start > skip:
                if len(fields) > 1 or (fields and not is_empty(fields[0])):
                    lines.append(start)
                    rows.append(fields)
                else:
                    blank += 1
            start = end + 1
    except csv.Error as error:
        raise ValueError(f"{where}, line {start}: invalid CSV: {error}") from error
    return Records(lines, rows, blank)


def parsed(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line that it ends at, fields) of each record.  Raises csv.Error."""
    text = text if "\n" in text else text.replace("\r", "\n")  # as spreadsheets on old Macs end lines
    lone, held = _LONE_RETURN.search(text) is not None, ""
    if lone:
        # the reader takes it for a line end; it is a part of the field that some writers leave unquoted
        held = next(mark for mark in map(chr, range(0xF0000, 0xFFFFE)) if mark not in text)
        text = _LONE_RETURN.sub(held, text)
    with unlimited_fields(len(text)):
        reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
        for fields in reader:
            yield reader.line_num, [field.replace(held, "\r") for field in fields] if lone else fields
