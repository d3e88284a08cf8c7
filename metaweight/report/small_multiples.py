"""Small multiples: a grid of panels with one legend, drawn without touching matplotlib's global state."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw = Callable[["Axes"], None]
WIDTH = 8.0
"""Inches of every figure: one size of letters, readable at 800 pixels."""
DPI = 150

# Okabe & Ito (2008), told apart with every common colour blindness; their yellow is too pale on white
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#7F7F7F")
DASHES = ("solid", (0, (5, 1.5)), (0, (1.5, 1.5)))
KINDS = {"clean": "#0072B2", "flipped": "#D55E00"}


def line_styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Name -> colour and dash, different for 24 names, the same in every panel of a figure."""
    unique = list(dict.fromkeys(names))
    shades = len(COLOURS)
    return {
        name: {"color": COLOURS[i % shades], "linestyle": DASHES[i // shades % len(DASHES)]}
        for i, name in enumerate(unique)
    }


def grid(
    rows: Sequence[Mapping[str, Draw]],
    *,
    title: str,
    x: str,
    y: str,
    names: Sequence[str] = (),
    height: float = 2.0,
    share_x: bool | Literal["row"] = True,
    share_y: bool = True,
) -> Figure:
    """A figure of rows of panels, title -> drawing, with shared axes and one legend below.

    ``names``: of the rows, written at their left.  ``height``: of a panel, in inches.  A row may have fewer
    panels than the widest one.  Raises ValueError where there is nothing to draw.
    """
    from matplotlib.figure import Figure

    columns = max((len(row) for row in rows), default=0)
    if columns == 0:
        raise ValueError("nothing to draw: a plot needs at least one panel")
    figure = Figure(figsize=(WIDTH, height * len(rows) + 1.3), dpi=DPI, layout="constrained")
    axes = figure.subplots(len(rows), columns, sharex=share_x, sharey=share_y, squeeze=False)
    for r, row in enumerate(rows):
        for c, (name, draw) in enumerate(row.items()):
            draw(axes[r, c])
            axes[r, c].spines[["top", "right"]].set_visible(False)
            if name and (r == 0 or not names):
                axes[r, c].set_title(name, fontsize=10)
        for unused in axes[r, len(row) :]:
            unused.set_visible(False)
        if names:
            axes[r, 0].set_ylabel(names[r], fontsize=10, rotation=0, ha="right", va="center")
    figure.suptitle(title, fontsize=12)
    for axis in axes[-1]:
        axis.set_xlabel(x, fontsize=10)  # a label of the whole figure would lie under the legend
    figure.supylabel(y, fontsize=10)
    figure.align_ylabels()
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """One entry for each label of any panel, below the panels."""
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        legend = figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside lower center",
            ncols=min(len(entries), 4),
            frameon=False,
            fontsize=10,
            markerscale=2,
        )
        for shown in legend.legend_handles:
            if shown is not None:
                shown.set_alpha(max(shown.get_alpha() or 1, 0.6))  # faint dots are for crowds


def save(figure: Figure, path: Path | str) -> None:
    """Write a figure as PNG, 1200 pixels wide.  Raises FileExistsError where the file exists."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=DPI)
    with Path(path).open("xb") as file:
        file.write(image.getvalue())
