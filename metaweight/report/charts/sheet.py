"""Many panels on one sheet, with their titles and one legend below: a PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaweight.core.shown import shown
from metaweight.report.charts.panel import BOTTOM, COLOURS, LEFT, RIGHT, TOP, UNITS, Panel, style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

WIDTH = 920
"""Units of a full row: two wide panels, or three small ones."""
HEAD, CAPTION, ENTRY = 40, 22, 20
"""Units of height for the sheet's title, a panel's, and a line of the legend."""
LETTER = 9.0
"""Units of width of a letter of a panel's title."""


def sheet(panels: Sequence[Panel], title: str) -> Figure:
    """The panels under their titles, where it fits a row an arm and a column a kind of noise.

    To be saved within ``style()``.  Raises ValueError where there is nothing to draw.
    """
    from matplotlib.figure import Figure

    if not panels:
        raise ValueError("nothing to draw: a plot needs at least one panel")
    width, height = panels[0].size
    room = WIDTH // width
    noises = list(dict.fromkeys(panel.noise for panel in panels))
    arms = list(dict.fromkeys(panel.arm for panel in panels))
    columns = len(noises) if 1 < len(noises) <= room else min(len(panels), room)
    places = [divmod(place, columns) for place in range(len(panels))]
    if columns == len(noises):
        places = [(arms.index(panel.arm), noises.index(panel.noise)) for panel in panels]
    width = max(columns * width, WIDTH // 2) // columns
    across, up = columns * width, HEAD + (max(places)[0] + 1) * (CAPTION + height)
    figure = Figure((across / UNITS, up / UNITS), dpi=UNITS)
    for panel, (row, column) in zip(panels, places, strict=True):
        left, floor = column * width + LEFT, up - HEAD - (row + 1) * (CAPTION + height) + BOTTOM
        inner = width - LEFT - RIGHT, height - TOP - BOTTOM
        axes = figure.add_axes((left / across, floor / up, inner[0] / across, inner[1] / up))
        panel.draw_on(axes)
        letters = int(width / LETTER)
        name = shown(panel.title)
        text = name if len(name) <= letters else f"{name[: letters - 1]}…"
        head: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "weight": "bold"}
        axes.annotate(text, (0, 1), (2 - LEFT, TOP + 7), color=COLOURS[0], **head)
    figure.suptitle(title, x=2 / across, y=1 - 10 / up, ha="left", va="top", fontsize=16, color=COLOURS[0])
    _legend(figure, across)
    return figure


def _legend(figure: Figure, width: int) -> None:
    """One entry for each label of any panel, under the figure."""
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    columns = max(1, min(len(entries), width // 180))
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "markerscale": 1.5}
    figure.legend(list(entries.values()), list(entries), ncols=columns, **place)


def save(panels: Sequence[Panel], title: str, path: Path) -> None:
    """Write the sheet as PNG, two pixels a unit.  Raises FileExistsError where the file exists."""
    from matplotlib.transforms import Bbox

    image = io.BytesIO()
    with style():
        figure = sheet(panels, title)
        low = figure.legends[0].get_window_extent().y0 / UNITS
        whole = Bbox([[-0.1, low], [figure.get_figwidth() + 0.1, figure.get_figheight()]])
        figure.savefig(image, format="png", dpi=2 * UNITS, bbox_inches=whole, metadata={"Software": None})
    with path.open("xb") as file:
        file.write(image.getvalue())
