"""The ground of a picture: its size, its title and the lines below it, and how it becomes a small PNG."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metaweight.report.charts.panel import BOTTOM, COLOURS, KINDS, LEFT, PAPER, RIGHT, SOFT, TOP, UNITS, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

WIDTH, EDGE = 460, 14
"""Of a picture and of the margin around it, in units: that of a wide panel."""
TITLE, LEAD, BODY, SMALL = 19, 12.5, 13, 12
"""Sizes of letters in units: the smallest is 19 px where a picture is 720 px wide, and 10 px at 390."""
PIXELS = 2.25
"""A unit."""
INKS = 64
"""Colours of the PNG at most."""
BYTES = 120_000
"""Of the PNG at most."""
WRONG, RIGHT_LABEL = "✗", "✓"
TINTS = {"clean": "#e3eef6", "flipped": "#fae5d6"}
"""Grounds of rows that are right and wrong."""


class Page:
    """A figure with a title and a lead over a body of ``height`` units; x and y are units from its top left.

    To be built, filled and saved within ``metaweight.report.charts.panel.style()``.
    """

    def __init__(self, title: str, lead: str, height: float) -> None:
        from matplotlib.figure import Figure

        inner = WIDTH - 2 * EDGE
        heads, leads = balanced(title, TITLE, inner, weight="bold"), balanced(lead, LEAD, inner)
        self.top = EDGE + 1.22 * TITLE * len(heads) + 6 + 1.4 * LEAD * len(leads) + 12
        """Where the body begins."""
        self.height = self.top + height + EDGE
        self.figure = Figure((WIDTH / UNITS, self.height / UNITS), dpi=UNITS, facecolor=PAPER)
        self.ground: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.ground.set(xlim=(0, WIDTH), ylim=(self.height, 0))
        self.ground.axis("off")
        y = float(EDGE)
        for line in heads:
            self.write(EDGE, y, line, TITLE, colour=COLOURS[0], weight="bold", va="top")
            y += 1.22 * TITLE
        y += 6
        for line in leads:
            self.write(EDGE, y, line, LEAD, va="top")
            y += 1.4 * LEAD

    def write(self, x: float, y: float, text: str, size: float, *, colour: str = SOFT, **shape: Any) -> None:
        """Put ``text`` with its left, or what ``ha`` says, at x and its middle, or what ``va`` says, at y."""
        shape = {"va": "center", "ha": "left", **shape}
        self.ground.text(x, y, text, fontsize=size, color=colour, **shape)

    def box(self, x: float, y: float, width: float, height: float, colour: str, **shape: Any) -> None:
        """A filled box with round corners."""
        from matplotlib.patches import FancyBboxPatch

        look: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=4", "linewidth": 0, **shape}
        self.ground.add_patch(FancyBboxPatch((x, y), width, height, facecolor=colour, **look))

    def inset(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes over this part of the picture."""
        bottom = self.height - y - height
        return self.figure.add_axes((x / WIDTH, bottom / self.height, width / WIDTH, height / self.height))

    def place(self, panel: Panel, y: float, height: float) -> Axes:
        """The chart ``panel`` with its margins between y and y + height, over the whole width."""
        left = EDGE + LEFT - 2
        axes = self.inset(left, y + TOP, WIDTH - left - RIGHT - 2, height - TOP - BOTTOM)
        panel.draw_on(axes)
        return axes

    def verdicts(self, y: float, wrong: int, right: int, *, noun: str = "label") -> None:
        """The legend of rows that are wrong and right."""
        for kind, mark, count, x in (
            ("flipped", WRONG, wrong, EDGE),
            ("clean", RIGHT_LABEL, right, WIDTH / 2 + 4),
        ):
            self.box(x, y - 8, 16, 16, TINTS[kind])
            self.write(x + 8, y, mark, SMALL, colour=KINDS[kind], ha="center", weight="bold")
            said = "wrong" if kind == "flipped" else "right"
            self.write(x + 23, y, f"the {noun} is {said}: {count}", SMALL)

    def png(self) -> bytes:
        """In few colours; the same page gives the same bytes.  Raises ValueError for one over ``BYTES``."""
        from PIL import Image as Images

        drawn, small = io.BytesIO(), io.BytesIO()
        self.figure.savefig(drawn, format="png", dpi=PIXELS * UNITS, metadata={"Software": None})
        drawn.seek(0)
        with Images.open(drawn) as image:
            few = in_few_colours(image.convert("RGB"))
            few.save(small, format="png", optimize=True)
        if small.tell() > BYTES:
            raise ValueError(f"the picture has {small.tell():,} bytes, and {BYTES:,} are the most")
        return small.getvalue()

    def save(self, path: Path) -> None:
        """Write the PNG, in place of one that is there."""
        content = self.png()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def in_few_colours(image: Image) -> Image:
    """An RGB image in ``INKS`` colours at most, those of charts and grounds among them as they are."""
    from PIL import Image as Images
    from PIL import ImageColor

    pure = [ImageColor.getrgb(colour) for colour in (*COLOURS, *KINDS.values(), *TINTS.values(), PAPER, SOFT)]
    count = INKS - len(pure)
    usual = image.quantize(count, Images.Quantize.MEDIANCUT).getpalette() or []
    inks = np.array([*usual[: 3 * count], *(part for colour in pure for part in colour[:3])]).reshape(-1, 3)
    pixels = np.asarray(image, dtype=np.int64) @ (1 << 16, 1 << 8, 1)
    colours, places = np.unique(pixels, return_inverse=True)
    apart = np.stack([colours >> 16, (colours >> 8) & 255, colours & 255], axis=1)[:, None] - inks
    # Pillow's own search for the nearest is by the first bits alone, and paper turns grey
    nearest = (apart**2).sum(axis=2).argmin(axis=1).astype(np.uint8)
    few = Images.fromarray(nearest[places].reshape(pixels.shape), "L").convert("P")
    few.putpalette(inks.astype(np.uint8).tobytes())
    return few


def length(text: str, size: float, *, weight: str = "normal") -> float:
    """Units that ``text`` takes in a line, without kerning, which only makes it shorter."""
    return size * sum(_advance(letter, weight) for letter in text)


@functools.cache
def _advance(letter: str, weight: str) -> float:
    """Width of a letter of size 1."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family="DejaVu Sans", weight=weight)))
    font.set_size(100, UNITS)
    return float(font.load_char(ord(letter)).linearHoriAdvance) / (65536 * 100)


def wrapped(text: str, size: float, room: float, *, weight: str = "normal") -> list[str]:
    """The lines of at most ``room`` units that ``text`` takes; a word alone may be longer."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and length(longer, size, weight=weight) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def balanced(text: str, size: float, room: float, *, weight: str = "normal") -> list[str]:
    """As ``wrapped``, in lines that are about equally long."""
    lines = wrapped(text, size, room, weight=weight)
    while True:
        room -= size / 2
        narrower = wrapped(text, size, room, weight=weight)
        if len(narrower) > len(lines) or max(length(line, size, weight=weight) for line in narrower) > room:
            return lines
        lines = narrower


def shortened(text: str, size: float, room: float) -> str:
    """``text``, or as much of its beginning as fits into ``room`` units, with an ellipsis."""
    text = " ".join(text.split())
    if length(text, size) <= room:
        return text
    while text and length(f"{text}…", size) > room:
        text = text[:-1]
    return f"{text.rstrip()}…"


def counted(wrong: Sequence[bool], what: str) -> str:
    """How many of the lowest weights are ``what``, as a title."""
    bad, shown = sum(wrong), len(wrong)
    if bad == shown:
        return f"The {shown} lowest weights are all {what}"
    return f"{bad} of the {shown} lowest weights are {what}"
