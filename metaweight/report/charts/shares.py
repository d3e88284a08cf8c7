"""A teacher's attention over the student's layers through training; a panel a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from metaweight.core.shown import shown
from metaweight.report.charts.panel import COLOURS, PAPER, Draw, Panel, epochs, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from metaweight.report.page.study import Study


def attention_panels(study: Study) -> tuple[list[Panel], tuple[str, ...]]:
    """Of the first seed of each arm that attends, and the layers' names; a layer's place is its colour."""
    first = {(run.noise, run.arm): run for run in reversed(study.runs) if run.attention and run.layers}
    runs = [first[noise, arm] for noise in study.noises for arm in study.arms if (noise, arm) in first]
    names = tuple(dict.fromkeys(layer for run in runs for layer in run.layers))
    panels = [
        Panel(
            *(run.arm, run.noise, f"attention of {run.arm} over layers, noise {run.noise}"),
            *("epoch", "share of attention"),
            attention_over_layers(run.attention, run.layers, names),
        )
        for run in runs
    ]
    return panels, names


def attention_over_layers(
    shares: Sequence[Sequence[float]], layers: Sequence[str], names: Sequence[str]
) -> Draw:
    """[T, L] shares of ``layers``, stacked, a column an epoch; an epoch of zeros stays blank.

    Raises ValueError for another shape or a negative share.
    """
    values = np.asarray(shares, dtype=float)
    if values.ndim != 2 or values.shape[1] != len(layers) or not len(values) or bool((values < 0).any()):
        got = f"{values.shape}, minimum {values.min():.3g}" if values.size else values.shape
        raise ValueError(f"shares are [T, {len(layers)}] and >= 0, a column for each layer, got {got}")

    def draw(axes: Axes) -> None:
        edges = np.arange(len(values) + 1) + 0.5  # an epoch is a column, so that a single one is seen too
        epochs(axes, edges[0], edges[-1])
        axes.set_ylim(0, 1)
        tops = values.cumsum(axis=1)
        for layer, name in enumerate(layers):
            area: dict[str, Any] = {"baseline": tops[:, layer] - values[:, layer], "fill": True}
            area |= {
                "facecolor": COLOURS[share_style(names.index(name))],
                "edgecolor": PAPER,
                "linewidth": 0.6,
            }
            axes.stairs(tops[:, layer], edges, label=shown(name), gid=named(shown(name)), **area)

    return draw


def share_style(layer: int) -> int:
    """Colour of a layer: black is for lines."""
    return 1 + layer % (len(COLOURS) - 1)
