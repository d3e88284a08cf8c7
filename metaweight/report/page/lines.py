"""From runs to the lines of the curves' chart and to the points of the cost's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from metaweight.core.weights import mean_and_spread
from metaweight.report.page.charts import Series, Spot
from metaweight.report.page.study import ReadRun, Study
from metaweight.report.tables import Spread
from metaweight.tasks import COST


def curve_figure(study: Study) -> str | None:
    """The epochs' figure that is nearest to the main one: measured on the test set, or on the validation set,
    or else a loss; None where no epoch is done."""
    main = study.main.figure
    wanted = (f"test_{main}", f"valid_{main}", "test_loss", "valid_loss", "train_loss")
    known = {name for run in study.runs for row in run.epochs for name in row}
    return next((name for name in wanted if name in known), None)


def series_of(study: Study, noise: str, figure: str) -> list[Series]:
    """A line an arm: mean over seeds and one sample standard deviation around it.

    Seeds that are not finished count only where an arm has no other; the epochs are those that all have.
    """
    found = []
    for style, arm in enumerate(study.arms):
        runs = study.runs_of(arm, noise)
        chosen = [run for run in runs if run.state == "finished"] or runs
        rows = [row for run in chosen if (row := _values(run, figure))]
        if rows:
            found.append(_series(arm, style, rows))
    return found


def _values(run: ReadRun, figure: str) -> dict[int, float]:
    """Epoch -> the figure, NaN where it is no finite number."""
    return {
        int(epoch): _finite(row[figure])
        for row in run.epochs
        if figure in row and (epoch := row.get("epoch")) is not None
    }


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else math.nan


def _series(arm: str, style: int, rows: Sequence[Mapping[int, float]]) -> Series:
    epochs = sorted(set.intersection(*(set(row) for row in rows)))
    middle, low, high = [], [], []
    for epoch in epochs:
        values = [row[epoch] for row in rows]
        finite = all(map(math.isfinite, values))
        mean, spread = mean_and_spread(values) if finite else (math.nan, math.nan)
        middle.append(mean)
        low.append(mean - spread)
        high.append(mean + spread)
    return Series(arm, style, tuple(map(float, epochs)), tuple(middle), tuple(low), tuple(high))


def gaps(series: Sequence[Series]) -> int:
    """How many values are missing in the lines."""
    return sum(math.isnan(value) for line in series for value in line.middle)


def cost_spots(study: Study, noise: str) -> list[Spot]:
    """The arms whose cost was measured and whose main figure is known."""
    spots = []
    for style, arm in enumerate(study.arms):
        figures = [run.figures for run in study.runs_of(arm, noise) if run.state == "finished"]
        costs = [cost for row in figures if (cost := row.get(COST.figure)) is not None]
        values = [value for row in figures if (value := row.get(study.main.figure)) is not None]
        if costs and values:
            main = Spread(*mean_and_spread(values))
            cost = mean_and_spread(costs)[0]
            spots.append(Spot(arm, style, cost, main.mean, main.mean - main.spread, main.mean + main.spread))
    return spots
