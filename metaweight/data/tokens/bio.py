"""BIO files (CoNLL): a token and its label a line, an empty line between two sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from metaweight.core.plain_text import is_empty
from metaweight.core.registry import did_you_mean
from metaweight.data.origins import Origins
from metaweight.data.tables.content import read_text
from metaweight.data.tables.records import text_lines

TOKENS = ("token", "tokens", "word", "words", "form", "text")
"""What columns of tokens are called, in any case."""
LABELS = ("label", "labels", "tag", "tags", "ner", "ner_tags", "ner_tag", "pos_tags")
"""What columns of their labels are called."""
DOCUMENT = "-DOCSTART-"
"""The token of a line that only says that a document begins."""


class Lines(NamedTuple):
    """The sentences of a file, as rows of cells."""

    columns: tuple[str, ...]
    """As the header names them, or "1", "2", ... ."""
    headed: bool
    sentences: list[list[Sequence[str]]]
    """The cells of each token, by sentence."""
    origins: Origins
    """The line at which each sentence begins."""
    notes: tuple[str, ...]


def read_bio(path: str | Path) -> Lines:
    """The lines of a file, packed or not, cut at tabs, or at runs of spaces where it has no tab.

    A first line ``#token<TAB>label`` that names a column of tokens is a header; other lines that begin with #
    and have not as many fields as the rest are comments, as is ``# ...`` in a file that is cut at spaces.
    Lines of ``DOCUMENT`` say nothing.  Raises ValueError, with file and line, for one of another number of
    fields and for an empty cell.
    """
    file = str(path)
    lines = text_lines(read_text(Path(path).expanduser()).text)
    tabs = any("\t" in line for line in lines)
    header = _header(lines[0]) if tabs else None
    width, first = _width(lines[header is not None :], tabs), int(header is not None)
    if width < 2:
        raise ValueError(
            f"{file}: a line holds a token and its label with a tab between, and no line here has two fields"
        )
    if header is not None and len(header) != width:
        raise ValueError(f"{file}, line 1: the header names {len(header)} columns, the lines have {width}")
    sentences: list[list[Sequence[str]]] = []
    starts: list[int] = []
    comments = documents = 0
    within = False
    for number, line in enumerate(lines[first:], 1 + first):
        if is_empty(line):
            within = False
            continue
        cells = _cells(line, tabs)
        if line.startswith("#") and (len(cells) != width or (not tabs and line.startswith("# "))):
            comments += 1
            continue
        if cells[0] == DOCUMENT:
            documents += 1
            within = False
            continue
        _check(cells, width, f"{file}, line {number}")
        if not within:
            sentences.append([])
            starts.append(number)
            within = True
        sentences[-1].append(cells)
    if not sentences:
        raise ValueError(f"{file} holds comments and blank lines, and no token")
    said = ((comments, "comment"), (documents, f"{DOCUMENT} line"))
    notes = tuple(f"{file}: {n:,} {what}{'s' * (n != 1)} skipped" for n, what in said if n)
    columns = header or tuple(map(str, range(1, width + 1)))
    return Lines(columns, header is not None, sentences, Origins.of(file, starts, unit="line"), notes)


def column_of(found: Lines, file: str, asked: str | None, called: Sequence[str], *, place: int) -> int:
    """Where the column ``asked`` for stands, or the one that is ``called`` so; without header, at ``place``.

    Raises ValueError, with the nearest name, where there is none.
    """
    names = list(found.columns)
    if asked is not None:
        if asked not in names:
            where = "" if found.headed else "; without a header columns are called 1, 2, and so on"
            raise ValueError(f"{file} has no column {asked!r}.{did_you_mean(asked, names)}{where}")
        return names.index(asked)
    plain = [name.strip().casefold() for name in names]
    at = next((plain.index(name) for name in called if name in plain), None)
    return place % len(names) if at is None else at


def _header(line: str) -> tuple[str, ...] | None:
    names = tuple(name.strip() for name in line.removeprefix("#").split("\t"))
    named = line.startswith("#") and any(name.casefold() in TOKENS for name in names)
    return names if named and len(set(names)) == len(names) else None


def _width(lines: Sequence[str], tabs: bool) -> int:
    """Fields of the first line that is no comment and not empty; of a file of such alone 0."""
    return next((len(cells) for cells in _tokens(lines, tabs)), 0)


def _tokens(lines: Sequence[str], tabs: bool) -> Iterator[Sequence[str]]:
    return (_cells(line, tabs) for line in lines if not is_empty(line) and not line.startswith("#"))


def _cells(line: str, tabs: bool) -> Sequence[str]:
    return line.split("\t") if tabs else line.split()


def _check(cells: Sequence[str], width: int, where: str) -> None:
    if len(cells) != width:
        raise ValueError(
            f"{where}: {len(cells)} field{'s' * (len(cells) != 1)}, expected {width}, as in the first line "
            "of tokens: a token, its label, and an empty line between two sentences"
        )
    for place, cell in enumerate(cells, 1):
        if is_empty(cell):
            raise ValueError(f"{where}: field {place} is empty: a token and its label are both something")
