"""What a chart is: one pair of axes that knows how to draw itself, in the colours of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[["Axes"], None]

# Those of the style sheet on light ground: eight that are told apart with every common colour blindness
COLOURS = ("#1d1c1a", "#ad6f00", "#2f87c0", "#00805d", "#0058a3", "#c04a00", "#b04f86", "#77746d")
KINDS = {"clean": "#0063a8", "flipped": COLOURS[5], "all": COLOURS[0]}
SOFT, GRID, PAPER = "#5d5a54", "#e9e6de", "#fbfaf7"
DASHES = ("solid", (0, (3.5, 1.75)), (0, (0.75, 2)))

UNITS = 72
"""An inch has as many units of a chart as points: an SVG in its natural size has a pixel a unit."""
WIDE, SMALL = (460, 300), (300, 210)
LEFT, RIGHT, TOP, BOTTOM = 42, 12, 26, 40
"""Margins of the axes, where tick labels and titles stand, in units."""
STEPS = (1, 2, 2.5, 5, 10)
"""Between ticks, times a power of ten."""
STYLE: Mapping[str, Any] = {
    **{"font.size": 12, "text.color": SOFT, "text.parse_math": False},
    **{"axes.facecolor": "none", "axes.edgecolor": SOFT, "axes.labelcolor": SOFT, "axes.labelpad": 6},
    **dict.fromkeys(("axes.spines.left", "axes.spines.right", "axes.spines.top"), False),
    **{"axes.grid": True, "axes.grid.axis": "y", "grid.color": GRID, "grid.linewidth": 1},
    **{"xtick.color": SOFT, "xtick.major.size": 4, "xtick.major.width": 1, "xaxis.labellocation": "right"},
    **{"ytick.color": SOFT, "ytick.major.size": 0, "ytick.major.pad": 7, "axes.axisbelow": True},
    **{"lines.linewidth": 2, "lines.solid_capstyle": "round", "lines.dash_capstyle": "round"},
    **{"lines.solid_joinstyle": "round", "lines.dash_joinstyle": "round", "legend.frameon": False},
    **{"axes.formatter.useoffset": False, "axes.formatter.limits": (-9, 9), "axes.linewidth": 1},
    **{"svg.fonttype": "none", "svg.hashsalt": "metaweight"},
}


@dataclass(frozen=True)
class Panel:
    """One chart and where it belongs."""

    arm: str
    """Empty where all arms are in it."""
    noise: str
    label: str
    """What is read out in its place."""
    x: str
    y: str
    """What the axes say, with the unit."""
    draw: Draw
    wide: bool = False
    readout: Mapping[str, Any] | None = None
    """What the page says of the epoch under the pointer: numbers behind the chart."""

    @property
    def title(self) -> str:
        """Arm and kind of noise."""
        return ", ".join(filter(None, (self.arm, self.noise)))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in units, margins included."""
        return WIDE if self.wide else SMALL

    def draw_on(self, axes: Axes) -> None:
        """Marks, ticks and titles; every scale holds all of its marks, so none is cut at the frame."""
        from matplotlib.ticker import MaxNLocator

        axes.yaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
        self.draw(axes)
        for artist in axes.get_children():
            artist.set_clip_on(False)
        axes.spines.bottom.set_zorder(1)
        axes.set_xlabel(self.x)
        axes.annotate(self.y, (0, 1), (2 - LEFT, 13), xycoords="axes fraction", textcoords="offset points")


def style() -> AbstractContextManager[None]:
    """matplotlib's defaults and what is different here, whatever the user's matplotlibrc says."""
    import matplotlib.style

    return matplotlib.style.context(["default", dict(STYLE)])


def look(number: int) -> dict[str, Any]:
    """Colour and dash of the arm with this number: 24 that differ, then again from the start."""
    shades = len(COLOURS)
    return {"color": COLOURS[number % shades], "linestyle": DASHES[number // shades % len(DASHES)]}


def named(title: str, arm: int | None = None) -> str:
    """The gid of a mark that says its ``title`` under the pointer and hides with its arm, for ``svg``."""
    return f"{'' if arm is None else arm}:{title}"


def plot_line(axes: Axes, x: Sequence[float], y: ArrayLike, *, gid: str, label: str, **shape: Any) -> None:
    """A line with gaps where ``y`` is not finite; a value alone between two of them is a dot."""
    values = np.asarray(y, dtype=float)
    axes.plot(x, values, gid=gid, label=label, **shape)
    finite = np.pad(np.isfinite(values), 1)
    alone = finite[1:-1] & ~finite[:-2] & ~finite[2:]
    if alone.any():
        dot: dict[str, Any] = {"color": shape["color"], "markersize": 4, "markeredgewidth": 0}
        axes.plot(np.asarray(x)[alone], values[alone], "o", gid=gid, **dot)


def epochs(axes: Axes, first: float, last: float) -> None:
    """An axis of whole epochs; a single one stands in its middle."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1, steps=STEPS))
    room = 0.5 if first == last else 0.0
    axes.set_xlim(first - room, last + room)


def spanning(values: Iterable[float], *, margin: float = 0.05) -> tuple[float, float]:
    """A range that holds the finite values, with a margin; (0, 1) where there are none."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    room = (high - low) * margin or abs(high) * 0.1 or 1.0
    return low - room, high + room
