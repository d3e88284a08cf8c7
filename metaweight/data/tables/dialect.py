"""How a delimited file is written: what its fields are cut at, and whether its quotes are text."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from metaweight.core.plain_text import is_empty
from metaweight.data.tables.header import is_header
from metaweight.data.tables.records import Records, parsed

DELIMITERS = (",", ";", "\t", "|")
"""What fields of a .csv are cut at, the likeliest first."""
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
HEAD = 1_000
"""Records that decide the delimiter."""
CHARACTERS = 1_000_000
"""The most of a text that is looked at for them."""
FEW = 3
"""Quoted fields below which rules (2) and (3) of ``quotes_of`` prove nothing."""
_DIRECTIVE = re.compile(r"sep=(.)\r?(?:\n|$)")
_LOOKS_QUOTED = re.compile(r'(?:^|\t)"(?:[^"\t\n]|"")*""(?:[^"\t\n]|"")*"(?=\t|\r?$)', re.MULTILINE)


class Delimiter(NamedTuple):
    """What fields are cut at."""

    character: str
    skip: int = 0
    """Lines at the top that only say so: ``sep=;``."""


def delimiter_of(text: str, wanted: Sequence[str] | None) -> Delimiter:
    """Of comma, semicolon, tab and bar, the one that a CSV is cut at.

    ``sep=;`` in the first line, as spreadsheets write it, decides.  Else it is the one that, over the first
    1,000 records, comes first by this order: its first record is a header (holds the ``wanted`` columns, or
    see ``is_header``); more of its records have the same number of fields, two at least; fewer of its fields
    begin with a space, as they do behind a comma of a sentence; comma, semicolon, tab, bar.
    """
    if match := _DIRECTIVE.match(text):
        return Delimiter(match[1], 1)
    head = text[:CHARACTERS]
    whole = len(head) == len(text)
    ranks = [(*_rank(head, mark, wanted, whole=whole), place) for place, mark in enumerate(DELIMITERS)]
    return Delimiter(DELIMITERS[min(ranks)[-1]])


def _rank(head: str, mark: str, wanted: Sequence[str] | None, *, whole: bool) -> tuple[bool, float, float]:
    """Lower is likelier."""
    rows: list[list[str]] = []
    try:
        for _, fields in parsed(head, mark):
            if fields:
                rows.append(fields)
            if len(rows) > HEAD:
                break
        else:
            rows = rows if whole else rows[:-1]  # the last one may be cut
    except csv.Error:
        pass  # what comes before it decides; the reader names the error
    several = [row for row in rows if len(row) > 1]
    if not several:
        return True, 0.0, 0.0
    share = Counter(map(len, several)).most_common(1)[0][1] / len(rows)
    fields = [field for row in several for field in row[1:]]
    spaced = sum(field.startswith(" ") for field in fields) / len(fields)
    first = rows[0]
    headed = set(wanted) <= set(first) if wanted is not None else is_header(first, rows[1:])
    return not headed, -share, spaced


class Quotes(NamedTuple):
    """What the quotes of a TSV are."""

    records: Records | None
    """The file's, where a writer of CSV put the quotes there and they are taken off; None: they are text."""
    note: str = ""
    """What the owner should know."""


def quotes_of(text: str) -> Quotes:
    """Whether the quotes of a TSV were put there by pandas, a spreadsheet or another writer of CSV.

    They were if one writer's rule explains every quote in the file.  A field is written as it is, or wholly
    in quotes with those inside doubled, and quoted are: (1) fields with a quote, tab or line end, and no
    others; (2) those and every field with a comma, and no others; (3) all fields but numbers and empty ones.
    By (1) there must be a quote inside of a quoted field, or lines that have not all the same number of tabs
    (a quotation may begin in one line and end in the next), by (2) and (3) three quoted fields at least.
    Otherwise every quote is text: that of ``"Ja", sagte er`` as well as that around a whole sentence.
    """
    if '"' not in text:
        return Quotes(None)
    judge, found = _Judge(), Records([], [], 0)
    lines, start, blank = text.split("\n"), 0, 0
    try:
        for end, fields in parsed(text, "\t"):
            raw = lines[start] if end == start + 1 else "\n".join(lines[start:end])
            if not judge.explains(raw.removesuffix("\r"), fields):
                return _text(text, start + 1)
            if len(fields) > 1 or (fields and not is_empty(fields[0])):
                found.lines.append(start + 1)
                found.fields.append(fields)
            else:
                blank += 1
            start = end
    except csv.Error:
        return _text(text, start + 1)
    even = len({line.count("\t") for line in lines if not is_empty(line)}) == 1
    if not judge.proven(even=even):
        return Quotes(None)
    note = "fields stand in quotes as CSV has them: the quotes are taken off"
    return Quotes(found._replace(blank=blank), note)


def _text(text: str, line: int) -> Quotes:
    """Quotes are text; a word of fields that look otherwise."""
    found = _LOOKS_QUOTED.search(text)
    if found is None:
        return Quotes(None)
    seen = text.count("\n", 0, found.start() + 1) + 1
    return Quotes(
        None,
        f"line {seen} looks quoted as CSV has it, line {line} does not: all quotes are left as they stand; "
        "if they are a writer's, quote every line alike",
    )


class _Judge:
    """Which writers' rules explain the records seen so far."""

    def __init__(self) -> None:
        self.minimal = self.commas = self.all = True
        self.quoted, self.doubled = 0, False

    def proven(self, *, even: bool) -> bool:
        """``even``: all lines have the same number of tabs."""
        return (self.minimal and (self.doubled or (self.quoted > 0 and not even))) or (
            (self.commas or self.all) and self.quoted >= FEW
        )

    def explains(self, raw: str, fields: Sequence[str]) -> bool:
        """Take a record, as it stands and as it was read; whether any rule is left."""
        if '"' not in raw:
            self.commas &= "," not in raw
            self.all &= all(not field or _is_number(field) for field in fields)
            return self.minimal or self.commas or self.all
        place = 0
        for field in fields:
            inside = '"' + field.replace('"', '""') + '"'
            quoted = raw.startswith(inside, place) and raw[place + len(inside) :][:1] in ("", "\t")
            written = inside if quoted else field
            if not raw.startswith(written, place) or (not quoted and '"' in field):
                return False
            place += len(written) + 1
            self._see(field, quoted=quoted)
        return place == len(raw) + 1 and (self.minimal or self.commas or self.all)

    def _see(self, field: str, *, quoted: bool) -> None:
        needs = quoted and any(mark in field for mark in '"\t\n\r')
        self.quoted += quoted
        self.doubled |= quoted and '"' in field
        self.minimal &= needs or not quoted
        self.commas &= (needs or "," in field) if quoted else "," not in field
        self.all &= quoted or not field or _is_number(field)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
