"""BIO files (CoNLL, CoNLL-U): a token and its label a line, an empty line between two sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metaweight.core.plain_text import is_empty
from metaweight.core.registry import did_you_mean
from metaweight.data.origins import Origins
from metaweight.data.tables.content import kind_of, read_text
from metaweight.data.tables.records import text_lines

TOKENS = ("token", "tokens", "word", "words", "form", "text")
"""What columns of tokens are called, in any case."""
LABELS = ("label", "labels", "tag", "tags", "ner", "ner_tags", "ner_tag", "pos_tags", "upos")
"""What columns of their labels are called."""
CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""The columns of a CoNLL-U file."""
OTHERS = (",", ";", "|", "/")
"""What else stands between a token and its label in files that are none of these."""
DOCUMENT = "-DOCSTART-"
"""The token of a line that only says that a document begins."""


class Layout(NamedTuple):
    """What stands where in a line."""

    columns: tuple[str, ...]
    """As the header names them, or "1", "2", ... ."""
    token: int
    """Where the tokens stand among them."""
    label: int
    headed: bool
    """Whether the first line is a header."""
    named: bool
    """Whether columns have names."""
    tabs: bool
    """Whether a line is cut at tabs."""


class Lines(NamedTuple):
    """The sentences of a file, as rows of cells."""

    layout: Layout
    sentences: list[list[Sequence[str]]]
    """The cells of each token, by sentence."""
    origins: Origins
    """The line at which each sentence begins."""
    notes: tuple[str, ...]


def read_bio(path: str | Path, *, tokens: str | None = None, label: str | None = None) -> Lines:
    """The lines of a file, packed or not, cut at tabs, or at runs of spaces where it has no tab.

    ``tokens`` and ``label`` name columns; else those that are called so, without names the first and the
    last.  A first line ``#token<TAB>label`` that names a column of tokens is a header; other lines that begin
    with # and have not as many fields as the rest are comments, as is ``# ...`` in a file that is cut at
    spaces.  Lines of ``DOCUMENT`` say nothing, nor do those of CoNLL-U that stand for several words or none.
    Raises ValueError, with file and line, for one of another number of fields and for an empty token or
    label.
    """
    file = str(path)
    lines = text_lines(read_text(Path(path).expanduser()).text)
    layout = _layout(lines, file, tokens, label)
    width, tabs, first = len(layout.columns), layout.tabs, int(layout.headed)
    sentences: list[list[Sequence[str]]] = []
    starts: list[int] = []
    comments = documents = others = 0
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
        _check(cells, layout, f"{file}, line {number}")
        if layout.columns == CONLLU and not cells[0].isdecimal():
            others += 1
            continue
        if not within:
            sentences.append([])
            starts.append(number)
            within = True
        sentences[-1].append(cells)
    if not sentences:
        raise ValueError(f"{file} holds comments and blank lines, and no token")
    said = ((comments, "comment"), (documents, f"{DOCUMENT} line"), (others, "CoNLL-U range"))
    notes = tuple(f"{file}: {n:,} {what}{'s' * (n != 1)} skipped" for n, what in said if n)
    return Lines(layout, sentences, Origins.of(file, starts, unit="line"), notes)


def _layout(lines: Sequence[str], file: str, tokens: str | None, label: str | None) -> Layout:
    """Raises ValueError where there are not the columns that are asked for, or not two."""
    tabs = any("\t" in line for line in lines)
    header = _header(lines[0]) if tabs else None
    width = _width(lines, int(header is not None), tabs, file)
    if header is not None and len(header) != width:
        raise ValueError(f"{file}, line 1: the header names {len(header)} columns, the lines have {width}")
    universal = kind_of(Path(file)) == ".conllu" and width == len(CONLLU)
    names = header or (CONLLU if universal else None)
    columns = names or tuple(map(str, range(1, width + 1)))
    token = _column(columns, names is not None, file, tokens, TOKENS, place=0)
    tag = _column(columns, names is not None, file, label, LABELS, place=-1)
    if token == tag:
        raise ValueError(f"{file}: column {columns[tag]!r} cannot hold both the tokens and their labels")
    return Layout(columns, token, tag, header is not None, names is not None, tabs)


def _column(
    names: Sequence[str], named: bool, file: str, asked: str | None, called: Sequence[str], *, place: int
) -> int:
    """Where the column ``asked`` for stands, or the one that is ``called`` so; without header, at ``place``.

    Raises ValueError, with the nearest name, where there is none.
    """
    if asked is not None:
        if asked not in names:
            where = "" if named else " Without a header columns are called 1, 2, and so on."
            raise ValueError(f"{file} has no column {asked!r}.{did_you_mean(asked, names)}{where}")
        return names.index(asked)
    plain = [name.strip().casefold() for name in names]
    at = next((plain.index(name) for name in called if name in plain), None)
    return place % len(names) if at is None else at


def _header(line: str) -> tuple[str, ...] | None:
    names = tuple(name.strip() for name in line.removeprefix("#").split("\t"))
    named = line.startswith("#") and any(name.casefold() in TOKENS for name in names)
    return names if named and len(set(names)) == len(names) else None


def _width(lines: Sequence[str], first: int, tabs: bool, file: str) -> int:
    """Fields of the first line that is no comment and not empty.  Raises ValueError where it has not two."""
    numbered = enumerate(lines[first:], 1 + first)
    found = next(((n, line) for n, line in numbered if not is_empty(line) and not line.startswith("#")), None)
    if found is None:
        raise ValueError(f"{file} holds comments and blank lines, and no token")
    number, line = found
    if (width := len(_cells(line, tabs))) > 1:
        return width
    other = next((mark for mark in OTHERS if mark in line), None)
    hint = "" if other is None else f"; put a tab in place of {other!r}"
    raise ValueError(
        f"{file}, line {number}: {line[:40]!r} is one field, and a line holds a token and its label with a "
        f"tab or spaces between{hint}"
    )


def _cells(line: str, tabs: bool) -> Sequence[str]:
    return line.split("\t") if tabs else line.split()


def _check(cells: Sequence[str], layout: Layout, where: str) -> None:
    if len(cells) != (width := len(layout.columns)):
        raise ValueError(
            f"{where}: {len(cells)} field{'s' * (len(cells) != 1)}, expected {width}, as in the first line "
            "of tokens: a token, its label, and an empty line between two sentences; mend the line, or take "
            "its sentence out"
        )
    for place in (layout.token, layout.label):
        if is_empty(cells[place]):
            raise ValueError(
                f"{where}: field {place + 1} is empty, and a token and its label are both something: fill it "
                "in, or take its sentence out"
            )
