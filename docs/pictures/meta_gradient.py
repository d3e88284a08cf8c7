"""Draw a meta-gradient: python docs/pictures/meta_gradient.py OUT.svg (or .png), for docs/explanation.

A student of two parameters takes one step on six rows, two of which have a wrong target; all numbers drawn
are those that metaweight gives.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

import metaweight as mw

HELPS, HURTS, STEP = "#1f6fb4", "#c8502d", "#1a1a1a"
RATE = 0.55
"""Learning rate of the student."""
META_RATE = 4.0
"""Step length along the meta-gradient of the weights."""
START = (-0.55, 0.95)
ROWS = ((0.9, -0.2), (1.1, 0.35), (0.6, -0.8), (0.95, 0.5), (0.75, 0.7), (0.35, 1.0))
"""Inputs of the training rows; the last two have a wrong target."""


def rows() -> tuple[mw.Batch, mw.Batch]:
    """Six training rows, two with a wrong target, and four trusted ones; y = x . (1, 0.5)."""
    g = torch.Generator().manual_seed(3)
    x_meta = torch.randn(4, 2, generator=g).double()
    x = torch.tensor(ROWS, dtype=torch.float64)
    truth = torch.tensor([1.0, 0.5], dtype=torch.float64)
    y, y_meta = x @ truth, x_meta @ truth
    y[4:] = torch.tensor([-1.2, -1.0], dtype=torch.float64)
    return (
        mw.Batch((x,), y[:, None], torch.arange(6)),
        mw.Batch((x_meta,), y_meta[:, None], torch.arange(6, 10)),
    )


def main(out: Path) -> None:
    """Write the picture."""
    train, meta = rows()
    module = torch.nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([START], dtype=torch.float64))
    student = mw.Student(module, mw.losses.squared_error)
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    ones = torch.ones(6, dtype=torch.float64, requires_grad=True)
    found = mw.hypergradient(student, optimizer, train, meta, lambda _: ones, [ones])
    slopes = found.grads[0]
    weights = (1 - META_RATE * (slopes - slopes.mean())).clamp_min(0)
    weights = weights / weights.mean()

    matplotlib.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9, "svg.hashsalt": "metaweight"})
    figure, panels = plt.subplots(1, 2, figsize=(9.2, 4.4), sharex=True, sharey=True, layout="constrained")
    for panel, title, own in zip(
        panels, ("all weights 1", "after one meta step"), (torch.ones(6).double(), weights), strict=True
    ):
        draw(panel, student, train, meta, own, slopes)
        panel.set_title(title)
    panels[0].set_ylabel("second parameter")
    figure.supxlabel("first parameter", fontsize=9)
    kind = {"metadata": {"Date": None}} if out.suffix == ".svg" else {"dpi": 160}
    figure.savefig(out, **kind)


def draw(
    panel: plt.Axes, student: mw.Student, train: mw.Batch, meta: mw.Batch, weights: Tensor, slopes: Tensor
) -> None:
    """One step at ``weights`` [6]: contours of the trusted loss, each row's share of the step, the step."""
    first, second = np.meshgrid(np.linspace(-1.15, 1.55, 120), np.linspace(0.0, 1.4, 120))
    places = torch.from_numpy(np.stack([first.ravel(), second.ravel()], axis=1))
    errors = places @ meta.inputs[0].T - meta.targets[:, 0]
    loss = errors.square().mean(dim=1).reshape(first.shape).numpy()
    panel.contour(
        first,
        second,
        loss,
        levels=np.linspace(0, float(loss.max()) ** 0.5, 11) ** 2,
        colors="white",
        linewidths=0.6,
    )
    panel.contourf(
        first, second, loss, levels=np.linspace(0, float(loss.max()) ** 0.5, 11) ** 2, cmap="Greys", alpha=0.5
    )
    here = torch.tensor(START, dtype=torch.float64)
    losses = student(train).loss
    parameter = [student.module.weight]
    pulls = torch.stack([torch.autograd.grad(one, parameter, retain_graph=True)[0][0] for one in losses])
    shares = -RATE / len(pulls) * weights[:, None] * pulls
    for share, slope, weight in zip(shares, slopes, weights, strict=True):
        if float(weight) > 0:
            arrow(panel, here, share * 2, HELPS if slope < 0 else HURTS, width=1.4)
    arrow(panel, here, shares.sum(dim=0), STEP, width=2.6)
    end = here + shares.sum(dim=0)
    panel.plot(*here.tolist(), "o", color=STEP, markersize=5)
    panel.plot(1.0, 0.5, marker="*", color="#2b8a3e", markersize=12, linestyle="none")
    panel.annotate("best for the trusted rows", (1.0, 0.5), (0, 9), textcoords="offset points", ha="center")
    left = float((meta.inputs[0] @ end - meta.targets[:, 0]).square().mean())
    panel.annotate(
        f"trusted loss here {left:.2f}",
        end.tolist(),
        (8, -13),
        textcoords="offset points",
        color=STEP,
    )
    for colour, label in ((HELPS, "a row that helps (twice as long)"), (HURTS, "a row that hurts")):
        panel.plot([], [], color=colour, label=label)
    panel.plot([], [], color=STEP, linewidth=2.6, label="the step")
    panel.legend(loc="lower right", frameon=False, fontsize=8)


def arrow(panel: plt.Axes, start: Tensor, way: Tensor, colour: str, *, width: float) -> None:
    """From ``start`` along ``way``."""
    panel.annotate(
        "",
        (start + way).tolist(),
        start.tolist(),
        arrowprops={"arrowstyle": "-|>", "color": colour, "lw": width, "shrinkA": 0, "shrinkB": 0},
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: meta_gradient.py OUT.svg")
    main(Path(sys.argv[1]))
