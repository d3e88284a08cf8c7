"""Rows of text on a ground that says whether each is right: of a table or of pairs a line, of texts two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from docs.pictures.page import (
    EDGE,
    RIGHT_LABEL,
    SMALL,
    TINTS,
    WIDTH,
    WRONG,
    Page,
    counted,
    shortened,
)
from metaweight.report.charts.panel import COLOURS, KINDS, SOFT

LINE, GAP = 19, 3
MARK = 22
"""Room of the mark at the left of a row."""


@dataclass(frozen=True)
class Row:
    """What stands in a row."""

    cells: tuple[str, ...]
    wrong: bool
    below: str = ""
    """In a second line."""


@dataclass(frozen=True)
class Column:
    """A heading, its share of the width, and whether cells stand at the right of it."""

    heading: str
    share: float
    right: bool = False


def worst_rows(
    rows: Sequence[Row],
    columns: Sequence[Column],
    lead: str,
    *,
    what: str = "wrong labels",
    noun: str = "label",
) -> Page:
    """The rows in the order of their weights, from the lowest, with how many are wrong as title."""
    tall = LINE * (2 if any(row.below for row in rows) else 1) + 3
    headed = LINE if any(column.heading for column in columns) else 0
    page = Page(counted([row.wrong for row in rows], what), lead, headed + len(rows) * (tall + GAP) + 18)
    room = WIDTH - 2 * EDGE - MARK - 6
    whole = sum(column.share for column in columns)
    widths = [room * column.share / whole for column in columns]
    starts = [EDGE + MARK + sum(widths[:place]) for place in range(len(columns))]
    for column, start, width in zip(columns, starts, widths, strict=True):
        _cell(page, start, page.top + 6, column.heading, width, column.right, SOFT)
    for place, row in enumerate(rows):
        y = page.top + headed + place * (tall + GAP)
        kind = "flipped" if row.wrong else "clean"
        page.box(EDGE, y, WIDTH - 2 * EDGE, tall, TINTS[kind])
        first = y + 1.5 + LINE / 2
        mark = WRONG if row.wrong else RIGHT_LABEL
        page.write(EDGE + MARK / 2, first, mark, SMALL, colour=KINDS[kind], ha="center", weight="bold")
        for text, column, start, width in zip(row.cells, columns, starts, widths, strict=True):
            _cell(page, start, first, text, width, column.right, COLOURS[0])
        if row.below:
            _cell(page, starts[0], first + LINE - 2, row.below, room, False, SOFT)
    wrong = sum(row.wrong for row in rows)
    page.verdicts(page.top + headed + len(rows) * (tall + GAP) + 14, wrong, len(rows) - wrong, noun=noun)
    return page


def _cell(page: Page, x: float, y: float, text: str, width: float, right: bool, colour: str) -> None:
    short = shortened(text, SMALL, width - 6)
    page.write(x + width - 6 if right else x, y, short, SMALL, colour=colour, ha="right" if right else "left")
