r"""Tables as Markdown that reads back as it was written, whatever text the cells hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from metaweight.core.shown import shown

# what Markdown takes for marks of its own in the middle of a line: emphasis inside a word, code, links, HTML
_MARKS = re.compile(r"[\\|`*<&]|(?<=\])(?=[(\[:])")


class Strong(str):
    """The text of a cell in bold."""


def escaped(text: str) -> str:
    r"""``text`` on one line of Markdown, as it is: marks behind a backslash, line ends as ``<br>``."""
    marked = _MARKS.sub(lambda found: f"\\{found[0]}", text)
    return shown(marked.replace("\r\n", "\n")).replace("\n", "<br>").replace("\t", " ")


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Headings, rule and rows, a line each, the last without its end; ``left`` columns are words."""
    rule = ("---",) * left + ("---:",) * (len(headings) - left)
    lines = ([_cell(cell) for cell in line] for line in (headings, *rows))
    head, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join((head, f"| {' | '.join(rule)} |", *rest))


def _cell(text: str) -> str:
    return f"**{escaped(text)}**" if isinstance(text, Strong) else escaped(text)
