"""The console that everything is printed through: it obeys nothing that stands in a user's text."""

from __future__ import annotations

from rich.console import Console, ConsoleDimensions, JustifyMethod, OverflowMethod
from rich.style import Style
from rich.text import Text

from metaweight.core.shown import shown

LEAST = 20
"""Columns that a terminal counts as where it has fewer: it breaks the lines then."""


class Terminal(Console):
    """Prints text as it is, brackets and colons too; there is no markup in it, and no highlighting.

    Words are styled with ``style=`` or as a rich Text of the program's own words.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(
        self,
        text: str,
        *,
        style: str | Style = "",
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        emoji: object = None,
        markup: object = None,
        highlight: object = None,
        highlighter: object = None,
    ) -> Text:
        """What rich makes of every string: those in the cells of a table too."""
        return Text(shown(text), style=style, justify=justify, overflow=overflow)

    @property
    def size(self) -> ConsoleDimensions:
        """Width and height, at least LEAST wide."""
        width, height = super().size
        return ConsoleDimensions(max(width, LEAST), height)

    @size.setter
    def size(self, size: tuple[int, int]) -> None:
        self._width, self._height = size
