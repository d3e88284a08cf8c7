"""A figure over the epochs: a line an arm, the mean over seeds in a band of one standard deviation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metaweight.core.shown import shown
from metaweight.core.weights import mean_and_spread
from metaweight.report.charts.panel import (
    COLOURS,
    LEFT,
    RIGHT,
    WIDE,
    Draw,
    Panel,
    epochs,
    look,
    named,
    plot_line,
    spanning,
)
from metaweight.tasks.figures import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from metaweight.report.page.study import ReadRun, Study

GAP = (math.nan, math.nan)
MANY = 5
"""Arms up to which bands may be seen well."""


@dataclass(frozen=True)
class Series:
    """A line with a band around it; NaN makes a gap."""

    name: str
    style: int
    """Of the arm, the same in every chart."""
    x: tuple[float, ...]
    middle: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def curve_of(study: Study) -> Curve | None:
    """The epochs' figure that is nearest to the main one: measured on the test set, or on the validation set,
    or else a loss; None where no epoch is done."""
    main, own = study.main.figure, study.presentation.curve
    names = (f"test_{main}", f"valid_{main}", "test_loss", "valid_loss", "train_loss")
    figures = {name for run in study.runs for row in run.epochs for name in row}
    figure = next((name for name in names if name in figures), None)
    if figure is None or figure == own.figure:
        return None if figure is None else own
    name = figure.replace("_", " ").replace("valid ", "validation ")
    return Curve(figure, name[:1].upper() + name[1:], f"{name}, %" if figure.endswith("accuracy") else name)


def curve_panels(study: Study, curve: Curve) -> list[Panel]:
    """A panel for each kind of noise, all on one scale."""
    lines = {noise: row for noise in study.noises if (row := series_of(study, noise, curve.figure))}
    span = spanning(
        value for row in lines.values() for line in row for value in (*line.middle, *line.low, *line.high)
    )
    return [
        Panel(
            *("", noise, f"{curve.axis} over epochs, noise {noise}", "epoch", curve.axis),
            curves(row, span),
            wide=True,
            readout=_readout(row),
        )
        for noise, row in lines.items()
    ]


def series_of(study: Study, noise: str, figure: str) -> list[Series]:
    """The line of each arm.

    Seeds that are not finished count only where an arm has no other; the epochs are those that all have.
    """
    series = []
    for style, arm in enumerate(study.arms):
        runs = study.runs_of(arm, noise)
        finished = [run for run in runs if run.state == "finished"] or runs
        rows = [row for run in finished if (row := _values(run, figure))]
        if rows:
            series.append(_series(shown(arm), style, rows))
    return series


def _values(run: ReadRun, figure: str) -> dict[int, float]:
    """Epoch -> the figure, NaN where it is no finite number."""
    return {
        int(epoch): value if (value := row[figure]) is not None and math.isfinite(value) else math.nan
        for row in run.epochs
        if figure in row and (epoch := row.get("epoch")) is not None
    }


def _series(arm: str, style: int, rows: Sequence[Mapping[int, float]]) -> Series:
    shared = sorted(set.intersection(*(set(row) for row in rows)))
    values = [[row[epoch] for row in rows] for epoch in shared]
    points = [mean_and_spread(seeds) if all(map(math.isfinite, seeds)) else GAP for seeds in values]
    middle = tuple(mean for mean, _ in points)
    low = tuple(mean - spread for mean, spread in points)
    high = tuple(mean + spread for mean, spread in points)
    return Series(arm, style, tuple(map(float, shared)), middle, low, high)


def curve_notes(study: Study, curve: Curve) -> list[str]:
    """What is missing in the lines, in sentences."""
    lines = [line for noise in study.noises for line in series_of(study, noise, curve.figure)]
    apart = list(dict.fromkeys(line.name for line in lines if not line.x))
    missing = sum(math.isnan(value) for line in lines for value in line.middle)
    notes = [f"The curves of {arm} share no epoch: evaluate all seeds at the same ones." for arm in apart]
    return [*notes, f"Means that are not finite: {missing}; each is a gap."] if missing else notes


def curves(lines: Sequence[Series], span: tuple[float, float]) -> Draw:
    """Lines over epochs, each in its band, on a scale of ``span``."""
    alpha = 0.13 if len(lines) <= MANY else 0.05

    def draw(axes: Axes) -> None:
        shown = [epoch for line in lines for epoch in line.x]
        epochs(axes, min(shown, default=1), max(shown, default=1))
        axes.set_ylim(span)
        for line in lines:
            colour, gid = look(line.style)["color"], named(line.name, line.style)
            axes.fill_between(line.x, line.low, line.high, color=colour, alpha=alpha, linewidth=0, gid=gid)
            plot_line(axes, line.x, line.middle, gid=gid, label=line.name, **look(line.style))

    return draw


def _readout(lines: Sequence[Series]) -> dict[str, Any]:
    axis = sorted({epoch for line in lines for epoch in line.x})
    values = [dict(zip(line.x, line.middle, strict=True)) for line in lines]
    arms = [
        {
            **{"name": line.name, "style": line.style, "colour": line.style % len(COLOURS)},
            "values": [_rounded(row.get(epoch)) for epoch in axis],
        }
        for line, row in zip(lines, values, strict=True)
    ]
    width = WIDE[0]
    return {"epochs": axis, "left": LEFT / width, "right": 1 - RIGHT / width, "arms": arms}


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
