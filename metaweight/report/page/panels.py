"""The page's panels: each chart of a study with its title, by kind of noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from metaweight.report.page import charts
from metaweight.report.page.axes import spanning
from metaweight.report.page.lines import cost_spots, gaps, series_of
from metaweight.report.page.samples import WeightView
from metaweight.report.page.study import Study
from metaweight.tasks import COST


@dataclass(frozen=True)
class Panel:
    """A chart under its title."""

    title: str
    chart: Markup
    readout: dict[str, Any] | None = None
    """What the page says of the epoch under the pointer: numbers behind the chart."""


@dataclass(frozen=True)
class Panels:
    """Charts that belong together."""

    title: str
    """The kind of noise."""
    panels: tuple[Panel, ...]
    note: str = ""


def curve_panels(study: Study, figure: str) -> Panels:
    """The curves of every kind of noise on one scale."""
    found = {noise: lines for noise in study.noises if (lines := series_of(study, noise, figure))}
    values = [v for lines in found.values() for line in lines for v in (*line.middle, *line.low, *line.high)]
    span = spanning(values)
    name = axis_title(study, figure)
    panels = []
    for noise, lines in found.items():
        label = f"{name} over epochs, noise {noise}"
        chart = charts.curves(lines, x_title="epoch", y_title=name, label=label, y=span)
        panels.append(Panel(noise, chart, _readout(lines)))
    missing = sum(gaps(lines) for lines in found.values())
    note = f"Means that are not finite: {missing}; each is a gap." if missing else ""
    return Panels("", tuple(panels), note)


def axis_title(study: Study, figure: str) -> str:
    """``test_accuracy`` -> ``test accuracy, %``."""
    name = figure.replace("_", " ").replace("valid ", "validation ")
    return f"{name}, %" if figure.endswith("accuracy") else name


def _readout(lines: Sequence[charts.Series]) -> dict[str, Any]:
    epochs = sorted({x for line in lines for x in line.x})
    return {
        "epochs": epochs,
        "left": charts.LEFT_SHARE,
        "right": charts.RIGHT_SHARE,
        "arms": [
            {
                "name": line.name,
                "style": line.style,
                "class": charts.style_class(line.style),
                "values": [_rounded(dict(zip(line.x, line.middle, strict=True)).get(x)) for x in epochs],
            }
            for line in lines
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _by_noise(views: Sequence[WeightView]) -> dict[str, list[WeightView]]:
    found: dict[str, list[WeightView]] = {}
    for view in views:
        if not view.flat:
            found.setdefault(view.run.noise, []).append(view)
    return found


def weight_panels(views: Sequence[WeightView]) -> list[Panels]:
    """Median and quartiles by epoch, an arm a panel; an arm has one scale under all kinds of noise."""
    tops = _tops(views, [[q.high for q in view.quartiles] for view in views])
    return [
        Panels(
            noise,
            tuple(
                Panel(
                    view.run.arm,
                    charts.quartile_bands(
                        {
                            kind: (q.low.tolist(), q.median.tolist(), q.high.tolist())
                            for kind, q in zip(view.kinds, view.quartiles, strict=True)
                        },
                        top=tops[view.run.arm],
                        label=f"weights of {view.run.arm} by epoch, noise {noise}",
                    ),
                )
                for view in row
            ),
        )
        for noise, row in _by_noise(views).items()
    ]


def loss_panels(views: Sequence[WeightView]) -> list[Panels]:
    """Weight as a function of the loss, an arm a panel."""
    tops = _tops(views, [[dots.weight for dots in view.dots] for view in views])
    found = []
    for noise, row in _by_noise(views).items():
        most = _largest([dots.loss for view in row for dots in view.dots], least=0.1)
        panels = [
            Panel(
                view.run.arm,
                charts.weight_against_loss(
                    {
                        k: (d.loss.tolist(), d.weight.tolist())
                        for k, d in zip(view.kinds, view.dots, strict=True)
                    },
                    (view.middle.loss.tolist(), view.middle.weight.tolist()),
                    most=most * 1.03,
                    top=tops[view.run.arm],
                    label=f"weight against loss of {view.run.arm}, noise {noise}",
                ),
            )
            for view in row
        ]
        found.append(Panels(noise, tuple(panels)))
    return found


def _tops(views: Sequence[WeightView], values: Sequence[Sequence[np.ndarray]]) -> dict[str, float]:
    """Arm -> the upper end of its weights' scale: 2, the ceiling of most teachers, or what is larger."""
    tops: dict[str, float] = {}
    for view, arrays in zip(views, values, strict=True):
        tops[view.run.arm] = _largest(arrays, least=tops.get(view.run.arm, 2.0))
    return tops


def _largest(arrays: Sequence[np.ndarray], *, least: float) -> float:
    known = [float(a[np.isfinite(a)].max()) for a in arrays if np.isfinite(a).any()]
    return max([least, *known])


def attention_panels(study: Study) -> tuple[list[Panels], tuple[str, ...]]:
    """Attention over layers of the first seed of each arm that attends, and the layers' names."""
    found: dict[str, list[Panel]] = {}
    layers: dict[str, None] = {}
    for noise in study.noises:
        for arm in study.arms:
            run = next((r for r in study.runs_of(arm, noise) if r.attention and r.layers), None)
            if run is not None:
                layers |= dict.fromkeys(run.layers)
                label = f"attention of {arm} over layers, noise {noise}"
                chart = charts.shares(run.attention, run.layers, names=tuple(layers), label=label)
                found.setdefault(noise, []).append(Panel(arm, chart))
    return [Panels(noise, tuple(panels)) for noise, panels in found.items()], tuple(layers)


def cost_panels(study: Study) -> Panels:
    """The main figure against the cost, a kind of noise a panel."""
    panels = []
    for noise in study.noises:
        spots = cost_spots(study, noise)
        if len(spots) > 1:
            label = f"{study.main.heading} against {COST.heading}, noise {noise}"
            chart = charts.costs(spots, x_title=COST.heading, y_title=study.main.heading, label=label)
            panels.append(Panel(noise, chart))
    return Panels("", tuple(panels))
