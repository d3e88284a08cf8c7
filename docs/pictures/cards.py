"""Pictures with a label each as cards on a ground that says whether the label is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from docs.pictures.page import EDGE, RIGHT_LABEL, TINTS, WIDTH, WRONG, Page, counted
from metaweight.report.charts.panel import COLOURS, KINDS

ACROSS, GAP = 6, 8
SIDE = (WIDTH - 2 * EDGE - (ACROSS - 1) * GAP) / ACROSS
"""Width of a card."""
CAPTION = 25
FINE = 160
"""Pixels of a smoothed picture."""
STEP = SIDE + CAPTION + GAP
"""From one row of cards to the next."""


@dataclass(frozen=True)
class Card:
    """A picture and its label."""

    pixels: NDArray[np.uint8]
    """[H, W], 0 is ground and 255 ink."""
    caption: str
    wrong: bool


def worst_cards(cards: Sequence[Card], lead: str) -> Page:
    """The cards in the order of their weights, from the lowest, with how many are wrong as title."""
    rows = -(-len(cards) // ACROSS)
    page = Page(counted([card.wrong for card in cards], "wrong labels"), lead, rows * STEP + 18)
    draw_cards(page, page.top, cards)
    wrong = sum(card.wrong for card in cards)
    page.verdicts(page.top + rows * STEP + 10, wrong, len(cards) - wrong)
    return page


def draw_cards(page: Page, top: float, cards: Sequence[Card]) -> None:
    """Rows of ``ACROSS`` cards, the first at ``top``."""
    from matplotlib.colors import LinearSegmentedColormap

    for place, card in enumerate(cards):
        row, column = divmod(place, ACROSS)
        x, y = EDGE + column * (SIDE + GAP), top + row * STEP
        kind = "flipped" if card.wrong else "clean"
        page.box(x, y, SIDE, SIDE + CAPTION, TINTS[kind])
        axes = page.inset(x + 5, y + 5, SIDE - 10, SIDE - 10)
        ink = LinearSegmentedColormap.from_list("ink", [TINTS[kind], COLOURS[0]])
        look: dict[str, Any] = {"cmap": ink, "vmin": 0, "vmax": 1, "interpolation": "bilinear"}
        axes.imshow(smooth(card.pixels), aspect="auto", **look)
        axes.axis("off")
        mark = WRONG if card.wrong else RIGHT_LABEL
        middle = y + SIDE + CAPTION / 2 - 1
        page.write(x + 5, middle, mark, 12, colour=KINDS[kind], weight="bold")
        size = 13 if len(card.caption) <= 5 else 10  # words beside the mark
        page.write(x + SIDE - 6, middle, card.caption, size, colour=COLOURS[0], ha="right", weight="bold")


def smooth(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """As strokes, 0 to 1: between pixels by a cubic, then with more contrast; blocks are hard to read."""
    from PIL import Image

    room = 1 if len(pixels) < 16 else 0  # a stroke at the border ends round
    padded = np.pad(pixels, room)
    large = Image.fromarray(padded).resize((FINE, FINE), Image.Resampling.BICUBIC)
    grey = np.asarray(large, dtype=np.float32) / 255
    return np.clip((grey - 0.22) / 0.5, 0, 1)
