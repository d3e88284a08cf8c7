"""The main figure against the cost of an iteration: a point an arm, with its spread and its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from metaweight.core.shown import shown
from metaweight.core.weights import mean_and_spread
from metaweight.report.charts.panel import (
    COLOURS,
    DASHES,
    PAPER,
    Draw,
    Panel,
    look,
    named,
    spanning,
)
from metaweight.report.tables import Spread
from metaweight.tasks import COST

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from metaweight.report.page.study import Study

SHAPES = "os^"
"""By the arm's dash, so that 24 arms differ."""
LETTER = 6.8
"""Units of width of a letter of a name."""
Side = tuple[float, float, Literal["left", "right", "center"]]
SIDES: tuple[Side, ...] = ((9, -4, "left"), (-9, -4, "right"), (0, 11, "center"), (0, -19, "center"))
"""Where a name may stand: units to the right of its point and above it, and what of it stands there."""


@dataclass(frozen=True)
class Spot:
    """A point with an interval upwards and downwards."""

    name: str
    style: int
    x: float
    y: float
    low: float
    high: float


def cost_panels(study: Study) -> list[Panel]:
    """A panel for each kind of noise that has two arms to compare."""
    spots = {noise: row for noise in study.noises if len(row := cost_spots(study, noise)) > 1}
    return [
        Panel(
            *("", noise, f"{study.main.heading} against {COST.heading}, noise {noise}"),
            *(COST.heading, study.main.heading),
            costs(row),
            wide=True,
        )
        for noise, row in spots.items()
    ]


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
            spots.append(
                Spot(shown(arm), style, cost, main.mean, main.mean - main.spread, main.mean + main.spread)
            )
    return spots


def costs(spots: Sequence[Spot]) -> Draw:
    """Points over their costs, which begin at 0."""

    def draw(axes: Axes) -> None:
        axes.set_xlim(0, 1.08 * max((spot.x for spot in spots), default=1.0))
        axes.set_ylim(spanning([v for s in spots for v in (s.y, s.low, s.high)], margin=0.08))
        places = [tuple(axes.transData.transform((spot.x, spot.y))) for spot in spots]
        sides = name_sides(places, [spot.name for spot in spots], *axes.bbox.intervalx)
        for spot, side in zip(spots, sides, strict=True):
            colour = look(spot.style)["color"]
            gid = named(f"{spot.name}: {spot.x:.1f}, {spot.y:.1f}", spot.style)
            point: dict[str, Any] = {"label": spot.name, "color": colour, "gid": gid}
            point |= {"markeredgecolor": PAPER, "markeredgewidth": 1.4, "markersize": 10}
            axes.plot([spot.x, spot.x], [spot.low, spot.high], color=colour, alpha=0.6, gid=gid)
            axes.plot(spot.x, spot.y, SHAPES[spot.style // len(COLOURS) % len(DASHES)], **point)
            if side is not None:
                right, up, end = side
                name: dict[str, Any] = {"xytext": (right, up), "ha": end, "color": COLOURS[0], "gid": gid}
                axes.annotate(spot.name, (spot.x, spot.y), textcoords="offset points", **name)

    return draw


def name_sides(
    places: Sequence[tuple[float, float]], names: Sequence[str], left: float, right: float
) -> list[Side | None]:
    """Where each point's name can stand between ``left`` and ``right`` without lying on a point or another.

    None where there is no room: the legend has it.
    """
    boxes = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    sides: list[Side | None] = []
    for (x, y), name in zip(places, names, strict=True):
        long = LETTER * len(name)
        choice = None
        for side in SIDES:
            start = x + side[0] - {"left": 0, "right": long, "center": long / 2}[side[2]]
            box = (start, y + side[1] - 3, start + long, y + side[1] + 11)
            free = all(box[2] < o[0] or o[2] < box[0] or box[3] < o[1] or o[3] < box[1] for o in boxes)
            if free and left <= start and start + long <= right:
                choice = side
                boxes.append(box)
                break
        sides.append(choice)
    return sides
