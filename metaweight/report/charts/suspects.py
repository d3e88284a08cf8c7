"""How the weights of a run are spread, suspects apart from others, with the cut-off between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metaweight.report.charts.panel import COLOURS, KINDS, Panel, named, spanning

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
BINS = 40
FAR = 3.0
"""Weights beyond so many times the 99 % quantile's distance from the median share the last bar."""


def suspect_panel(weights: Array, suspect: NDArray[np.bool_], cut: float | None) -> Panel:
    """Rows by weight: ``weights`` [n] finite, ``suspect`` [n]; suspects stand below the others of their bar.

    The axis holds the weights there are; a few far above all others count in its last bar, and it says so.
    Raises ValueError where the arrays are not both [n], or n is 0.
    """
    if weights.ndim != 1 or weights.shape != suspect.shape or not len(weights):
        raise ValueError(f"weights and suspect are both [n], got {weights.shape} and {suspect.shape}")
    low, high = float(weights.min()), _end(weights)
    if low == high:
        low, high = spanning([low])
    beyond = int((weights > high).sum())
    whole, edges = np.histogram(weights.clip(max=high), BINS, (low, high))
    bad, _ = np.histogram(weights[suspect].clip(max=high), edges)

    def draw(axes: Axes) -> None:
        axes.set_xlim(low, high)
        axes.set_ylim(0, float(whole.max()))
        for name, kind, top, base in (("suspects", "flipped", bad, 0 * bad), ("others", "clean", whole, bad)):
            shape: dict[str, Any] = {"color": KINDS[kind], "linewidth": 0, "gid": named(name)}
            axes.stairs(top, edges, baseline=base, fill=True, label=name, **shape)
        if cut is not None and low <= cut <= high:
            axes.axvline(cut, color=COLOURS[0], linewidth=1.4, linestyle=(0, (4, 3)), gid=named("cut-off"))
            side = "left" if cut < (low + high) / 2 else "right"
            room = {"left": 5, "right": -5}[side]
            place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axes.annotate(f"cut-off {cut:.3g}", (cut, 0.9), (room, 0), ha=side, color=COLOURS[0], **place)

    more = f"; {beyond:,} rows weigh more than {high:.3g} and stand in the last bar" if beyond else ""
    return Panel("", "", "rows by weight", f"weight{more}", "rows", draw, wide=True)


def _end(weights: Array) -> float:
    """Where the axis ends: at the largest weight, unless a hundredth of the rows would squeeze the rest."""
    middle, most = np.quantile(weights, (0.5, 0.99))
    limit = middle + FAR * (most - middle)
    top = float(weights.max())
    return float(limit) if middle < limit < top else top
