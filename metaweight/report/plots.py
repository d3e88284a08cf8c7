"""The plots of a run and of a comparison; each takes plain values and gives a matplotlib Figure.

A plot of one run takes its data, the one beside it with ``_by_...`` takes a mapping of panels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from metaweight.core.weights import mean_and_spread
from metaweight.report.small_multiples import COLOURS, KINDS, Draw, grid, line_styles, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "accuracy_by_noise",
    "accuracy_over_time",
    "attention_by_noise",
    "attention_over_layers",
    "save",
    "weight_against_loss",
    "weight_histogram",
    "weights_against_losses",
    "weights_by_teacher",
]

Curve = tuple[Sequence[float], Sequence[float]]
"""Epochs and the accuracy after each, in percent."""
Curves = Mapping[str, Sequence[Curve]]
"""Teacher -> a curve for each seed."""
BINS = 31
"""An odd number: weight 1 is in the middle of a bin, not on an edge, where the ceiling is 2."""
LOSS_TICKS = (0, 0.3, 1, 3, 10, 30, 100, 300, 1000)


def accuracy_over_time(curves: Curves, title: str = "Test accuracy") -> Figure:
    """A line for each teacher, the mean over seeds, in a band of one sample standard deviation.

    A line has the epochs that all of its seeds have.  Raises ValueError where there are none.
    """
    return accuracy_by_noise({"": curves}, title, height=3.6)


def accuracy_by_noise(
    panels: Mapping[str, Curves],
    title: str = "Test accuracy",
    *,
    y: str = "test accuracy, %",
    height: float = 3.0,
) -> Figure:
    """``accuracy_over_time`` for several kinds of noise side by side, on one scale."""
    styles = line_styles(teacher for curves in panels.values() for teacher in curves)

    def panel(curves: Curves) -> Draw:
        def draw(axes: Axes) -> None:
            for teacher, seeds in curves.items():
                epochs, mean, spread = _mean_curve(teacher, seeds)
                axes.plot(epochs, mean, label=teacher, linewidth=1.6, **styles[teacher])
                if len(seeds) > 1:
                    colour = styles[teacher]["color"]
                    axes.fill_between(
                        epochs, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0
                    )
            axes.grid(alpha=0.25)
            _whole_epochs(axes)

        return draw

    rows = [{noise: panel(curves) for noise, curves in panels.items()}]
    return grid(rows, title=title, x="epoch", y=y, height=height)


def _mean_curve(teacher: str, seeds: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    runs = [dict(zip(*curve, strict=True)) for curve in seeds]
    epochs = sorted(set.intersection(*map(set, runs))) if runs else []
    if not epochs:
        raise ValueError(f"the curves of {teacher} share no epoch: evaluate all seeds at the same ones")
    values = [mean_and_spread([run[epoch] for run in runs]) for epoch in epochs]
    mean, spread = np.array(values).T
    return np.array(epochs), mean, spread


def weight_histogram(weights: Tensor, flipped: Tensor, title: str = "Weights") -> Figure:
    """How the weights [n] of clean and of flipped samples are spread, in shared bins; a kind sums to 100 %.

    NaN (a sample that was never seen) is left out.  Raises ValueError or TypeError for what does not fit.
    """
    return weights_by_teacher({"": {"": (weights, flipped)}}, title, height=3.2)


def weights_by_teacher(
    panels: Mapping[str, Mapping[str, tuple[Tensor, Tensor]]], title: str = "Weights", *, height: float = 1.2
) -> Figure:
    """``weight_histogram`` for teacher -> noise -> (weights, flipped): a row a teacher, on its own scale."""
    # 2 is the ceiling of most teachers
    widest = {teacher: _largest([w for w, _ in row.values()], least=2) for teacher, row in panels.items()}

    def panel(teacher: str, weights: Tensor, flipped: Tensor) -> Draw:
        _check_samples(flipped, weights=weights)

        def draw(axes: Axes) -> None:
            bins = np.linspace(0, widest[teacher], BINS + 1).tolist()
            for kind, part in _kinds(flipped).items():
                values = weights[part & weights.isfinite()].cpu().numpy()
                if len(values):
                    share = np.full(len(values), 100 / len(values))
                    look: dict[str, Any] = {"color": KINDS[kind], "alpha": 0.55, "label": kind}
                    axes.hist(values, bins, weights=share, histtype="stepfilled", **look)
            axes.axvline(1, color="black", linewidth=0.8, linestyle=(0, (1.5, 1.5)))

        return draw

    rows = [{noise: panel(teacher, *data) for noise, data in row.items()} for teacher, row in panels.items()]
    names = [name for name in panels if name]
    y = "share of the samples of a kind, %"
    x = "mean weight"
    return grid(rows, title=title, x=x, y=y, names=names, height=height, share_x="row", share_y=False)


def _largest(values: Sequence[Tensor], *, least: float) -> float:
    """The largest finite value, or ``least`` if that is larger."""
    return max([least, *(float(v[v.isfinite()].max()) for v in values if bool(v.isfinite().any()))])


def weight_against_loss(
    weights: Tensor, loss: Tensor, flipped: Tensor, title: str = "Weight against loss"
) -> Figure:
    """A dot for each sample: its weight [n] over its loss [n] >= 0, on a log1p axis."""
    return weights_against_losses({"": (weights, loss, flipped)}, title, height=3.6)


def weights_against_losses(
    panels: Mapping[str, tuple[Tensor, Tensor, Tensor]],
    title: str = "Weight against loss",
    *,
    height: float = 3.0,
) -> Figure:
    """``weight_against_loss`` for noise -> (weights, loss, flipped) side by side, on one scale."""

    most = _largest([loss for _, loss, _ in panels.values()], least=0.1)

    def panel(weights: Tensor, loss: Tensor, flipped: Tensor) -> Draw:
        _check_samples(flipped, weights=weights, loss=loss)
        seen = weights.isfinite() & loss.isfinite()

        def draw(axes: Axes) -> None:
            alpha = min(0.6, max(0.05, 400 / max(int(seen.sum()), 1)))
            for kind, part in _kinds(flipped).items():
                x, y = (value[part & seen].cpu().numpy() for value in (loss, weights))
                axes.scatter(x, y, s=8, color=KINDS[kind], alpha=alpha, linewidths=0, label=kind)
            axes.set_xscale("function", functions=(np.log1p, np.expm1))
            if most > 1:  # the usual ticks, evenly spread, would crowd at the right
                axes.set_xticks(LOSS_TICKS, [f"{tick:g}" for tick in LOSS_TICKS])

        return draw

    figure = grid(
        [{noise: panel(*data) for noise, data in panels.items()}],
        title=title,
        x="mean loss (log1p scale)",
        y="mean weight",
        height=height,
    )
    for axes in figure.axes:
        axes.set_xlim(0, 1.05 * most)
        axes.set_ylim(bottom=0)
    return figure


def attention_over_layers(
    shares: Tensor | Sequence[Sequence[float]], names: Sequence[str], title: str = "Attention over layers"
) -> Figure:
    """A teacher's attention map through training: [T, L] shares of the layers ``names``, one row an epoch.

    Stacked areas; an epoch whose row is all zero (the teacher was not asked yet) stays blank.
    Raises ValueError for another shape or a negative share.
    """
    return attention_by_noise({"": shares}, names, title, height=3.2)


def attention_by_noise(
    panels: Mapping[str, Tensor | Sequence[Sequence[float]]],
    names: Sequence[str],
    title: str = "Attention over layers",
    *,
    height: float = 2.6,
) -> Figure:
    """``attention_over_layers`` for several kinds of noise side by side."""

    def panel(shares: Tensor) -> Draw:
        def draw(axes: Axes) -> None:
            edges = np.arange(len(shares) + 1) + 0.5  # an epoch is a column, so that a single one is seen too
            tops = np.vstack([shares, shares[-1:]]).cumsum(axis=1)
            floor = np.zeros(len(edges))
            for number, name in enumerate(names):
                colour = COLOURS[(number + 1) % len(COLOURS)]
                look: dict[str, Any] = {
                    "step": "post",
                    "color": colour,
                    "alpha": 0.8,
                    "linewidth": 0,
                    "label": name,
                }
                axes.fill_between(edges, floor, tops[:, number], **look)
                floor = tops[:, number]
            axes.set_xlim(edges[0], edges[-1])
            axes.set_ylim(0, 1)
            _whole_epochs(axes)

        return draw

    rows = [{noise: panel(_shares(shares, names)) for noise, shares in panels.items()}]
    return grid(rows, title=title, x="epoch", y="share of attention", height=height)


def _shares(shares: Tensor | Sequence[Sequence[float]], names: Sequence[str]) -> Tensor:
    values = torch.as_tensor(shares, dtype=torch.float64).cpu()
    if values.dim() != 2 or values.shape[1] != len(names) or len(values) == 0 or bool((values < 0).any()):
        got = f"{tuple(values.shape)}, minimum {values.min():.3g}" if values.numel() else tuple(values.shape)
        raise ValueError(f"shares are [T, {len(names)}] and >= 0, a column for each layer, got {got}")
    return values


def _check_samples(flipped: Tensor, **figures: Tensor) -> None:
    if flipped.dtype != torch.bool:
        raise TypeError(f"flipped is a bool mask, got {flipped.dtype}; write given != clean")
    for name, value in figures.items():
        if value.dim() != 1 or value.shape != flipped.shape:
            got = f"{tuple(value.shape)} and {tuple(flipped.shape)}"
            raise ValueError(f"{name} and flipped are both [n], got {got}")


def _kinds(flipped: Tensor) -> dict[str, Tensor]:
    return {"clean": ~flipped, "flipped": flipped}


def _whole_epochs(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
