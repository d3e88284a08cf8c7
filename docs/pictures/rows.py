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
    wrapped,
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
    headed = LINE if any(column.heading for column in columns) else 0
    room = WIDTH - 2 * EDGE - MARK - 6
    whole = sum(column.share for column in columns)
    widths = [room * column.share / whole for column in columns]
    starts = [EDGE + MARK + sum(widths[:place]) for place in range(len(columns))]
    below = [lines_below(row, widths[0]) for row in rows]
    heights = [LINE * (1 + len(lines)) + 3 + GAP for lines in below]
    page = Page(counted([row.wrong for row in rows], what), lead, headed + sum(heights) + 18)
    for column, start, width in zip(columns, starts, widths, strict=True):
        _cell(page, start, page.top + 6, column.heading, width, column.right, SOFT)
    y = page.top + headed
    for row, lines, height in zip(rows, below, heights, strict=True):
        kind = "flipped" if row.wrong else "clean"
        page.box(EDGE, y, WIDTH - 2 * EDGE, height - GAP, TINTS[kind])
        first = y + 1.5 + LINE / 2
        mark = WRONG if row.wrong else RIGHT_LABEL
        page.write(EDGE + MARK / 2, first, mark, SMALL, colour=KINDS[kind], ha="center", weight="bold")
        own = [wrapped(row.cells[0], SMALL, room - 6)[0]] if row.below else row.cells
        for text, column, start, width in zip(own, columns, starts, widths, strict=True):
            _cell(page, start, first, text, width, column.right, COLOURS[0])
        for number, line in enumerate(lines, 1):
            colour = SOFT if number == len(lines) else COLOURS[0]
            _cell(page, starts[0], first + number * (LINE - 1), line, room, False, colour)
        y += height
    wrong = sum(row.wrong for row in rows)
    page.verdicts(y + 11, wrong, len(rows) - wrong, noun=noun)
    return page


def lines_below(row: Row, room: float) -> list[str]:
    """What stands below the first line: the rest of its text in one more, and ``row.below``."""
    if not row.below:
        return []
    rest = wrapped(row.cells[0], SMALL, room - 6)[1:]
    return [*([" ".join(rest)] if rest else []), row.below]


def _cell(page: Page, x: float, y: float, text: str, width: float, right: bool, colour: str) -> None:
    short = shortened(text, SMALL, width - 6)
    page.write(x + width - 6 if right else x, y, short, SMALL, colour=colour, ha="right" if right else "left")
