"""The weights of a run's samples: over time, against the loss, and how they are spread; a panel a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metaweight.report.charts.panel import COLOURS, KINDS, SOFT, Draw, Panel, epochs, named, plot_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from metaweight.report.page.samples import Dots, Quartiles, WeightView

Array = NDArray[np.float64]
CEILING = 2.0
"""Of most teachers' weights, and the least that a scale of weights shows."""
BINS = 31
"""An odd number: weight 1 is in the middle of a bin, not on an edge, where the ceiling is 2."""
LOSS_TICKS = (0, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
DASHES = {"flipped": (0, (2.5, 2))}
ONE: Mapping[str, Any] = {"color": SOFT, "linewidth": 1, "linestyle": (0, (2, 3)), "zorder": 1}
"""The line at weight 1, an ordinary sample's."""


def quartile_panels(views: Sequence[WeightView]) -> list[Panel]:
    """Median and quartiles by epoch; an arm has one scale under all kinds of noise."""
    views = [view for view in views if not view.flat]
    tops = _tops(views, lambda view: [quartiles.high for quartiles in view.quartiles])
    return [
        Panel(
            *(view.run.arm, view.run.noise),
            f"weights of {view.run.arm} by epoch, noise {view.run.noise}",
            *("epoch", "weight"),
            quartile_bands(dict(zip(view.kinds, view.quartiles, strict=True)), tops[view.run.arm]),
        )
        for view in views
    ]


def quartile_bands(kinds: Mapping[str, Quartiles], top: float) -> Draw:
    """Lower quartile, median and upper quartile of each kind by epoch, on a scale from 0 to ``top``."""

    def draw(axes: Axes) -> None:
        count = max((len(quartiles.median) for quartiles in kinds.values()), default=1)
        epochs(axes, 1, count)
        axes.set_ylim(0, top)
        axes.axhline(1, **ONE)
        for kind, quartiles in kinds.items():
            x, colour, gid = range(1, count + 1), KINDS[kind], named(kind)
            axes.fill_between(x, quartiles.low, quartiles.high, color=colour, alpha=0.2, linewidth=0, gid=gid)
            shape: dict[str, Any] = {"color": colour, "linestyle": DASHES.get(kind, "solid")}
            plot_line(axes, x, quartiles.median, gid=gid, label=kind, **shape)

    return draw


def loss_panels(views: Sequence[WeightView]) -> list[Panel]:
    """Weight as a function of the loss; all arms under a kind of noise have one scale of losses."""
    views = [view for view in views if not view.flat]
    tops = _tops(views, lambda view: [dots.weight for dots in view.dots])
    most = {
        noise: _largest([d.loss for view in views if view.run.noise == noise for d in view.dots], least=0.1)
        for noise in {view.run.noise for view in views}
    }
    return [
        Panel(
            *(view.run.arm, view.run.noise),
            f"weight against loss of {view.run.arm}, noise {view.run.noise}",
            *("loss, log(1 + x) scale", "weight"),
            weight_against_loss(
                dict(zip(view.kinds, view.dots, strict=True)),
                view.middle,
                most=1.03 * most[view.run.noise],
                top=tops[view.run.arm],
            ),
        )
        for view in views
    ]


def weight_against_loss(kinds: Mapping[str, Dots], middle: Dots, *, most: float, top: float) -> Draw:
    """A dot a sample, on a log1p scale from 0 to ``most``, and the line of the weights' medians.

    Raises ValueError where losses and weights are not both [n].
    """
    for dots in (*kinds.values(), middle):
        _check_both(loss=dots.loss, weights=dots.weight)

    def draw(axes: Axes) -> None:
        axes.set_xscale("function", functions=(np.log1p, np.expm1))
        axes.set_xlim(0, most)
        axes.set_ylim(0, top)
        if most > 1:  # evenly spread ticks would crowd at the right
            ticks = _apart([tick for tick in LOSS_TICKS if tick <= most], np.log1p(most) / 7)
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        for kind, dots in kinds.items():
            look: dict[str, Any] = {
                "color": KINDS[kind],
                "alpha": 0.45,
                "markersize": 3.4,
                "markeredgewidth": 0,
            }
            axes.plot(dots.loss.clip(0), dots.weight, "o", label=kind, gid=named(kind), **look)
        axes.plot(middle.loss.clip(0), middle.weight, color=COLOURS[0], linewidth=1.8)

    return draw


def _apart(ticks: Sequence[float], room: float) -> list[float]:
    """The ticks that are ``room`` apart on the log1p scale."""
    places: list[float] = []
    for tick in ticks:
        if not places or np.log1p(tick) - np.log1p(places[-1]) > room:
            places.append(tick)
    return places


def histogram_panels(runs: Mapping[tuple[str, str], tuple[Tensor, Tensor | None]]) -> list[Panel]:
    """How the weights are spread, of (arm, noise) -> (weights, flipped where known); an arm has one scale."""
    tops: dict[str, float] = {}
    for (arm, _), (weights, _) in runs.items():
        tops[arm] = _largest([weights.numpy()], least=tops.get(arm, CEILING))
    return [
        Panel(
            *(arm, noise, f"spread of the weights of {arm}, noise {noise}", "mean weight"),
            "share of the samples of a kind, %",
            weight_histogram(weights, flipped, tops[arm]),
        )
        for (arm, noise), (weights, flipped) in runs.items()
    ]


def weight_histogram(weights: Tensor, flipped: Tensor | None, top: float) -> Draw:
    """How the weights [n] of clean and of flipped samples are spread up to ``top``; a kind sums to 100 %.

    Without ``flipped``, where that is not known, of all samples together.
    NaN (a sample that was never seen) is left out.  Raises ValueError or TypeError for what does not fit.
    """
    kinds = {"all": torch.ones_like(weights, dtype=torch.bool)}
    if flipped is not None:
        if flipped.dtype != torch.bool:
            raise TypeError(f"flipped is a bool mask, got {flipped.dtype}; write given != clean")
        _check_both(weights=weights, flipped=flipped)
        kinds = {"clean": ~flipped, "flipped": flipped}

    def draw(axes: Axes) -> None:
        axes.set_xlim(0, top)
        for kind, part in kinds.items():
            values = weights[part & weights.isfinite()].double().numpy()
            if len(values):
                counts, edges = np.histogram(values, BINS, (0, top))
                look: dict[str, Any] = {
                    "color": KINDS[kind],
                    "alpha": 0.55,
                    "linewidth": 0,
                    "gid": named(kind),
                }
                axes.stairs(100 * counts / len(values), edges, fill=True, label=kind, **look)
        axes.axvline(1, **ONE)

    return draw


def _check_both(**values: Array | Tensor) -> None:
    (one, first), (other, second) = values.items()
    if first.ndim != 1 or first.shape != second.shape:
        got = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"{one} and {other} are both [n], got {got}")


def _tops(views: Sequence[WeightView], values: Callable[[WeightView], list[Array]]) -> dict[str, float]:
    """Arm -> the upper end of its weights' scale."""
    tops: dict[str, float] = {}
    for view in views:
        tops[view.run.arm] = _largest(values(view), least=tops.get(view.run.arm, CEILING))
    return tops


def _largest(arrays: Sequence[Array], *, least: float) -> float:
    """The largest finite value, or ``least`` if that is larger."""
    return max([least, *(float(a[np.isfinite(a)].max()) for a in arrays if np.isfinite(a).any())])
