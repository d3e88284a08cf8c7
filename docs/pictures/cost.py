"""What an exact meta-gradient costs, and what is lost with those that are cheaper: from a kept table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs.pictures.page import EDGE, SMALL, TINTS, WIDTH, Page
from metaweight.report.charts.panel import COLOURS, KINDS, SOFT

KEPT = Path(__file__).parents[2] / "benchmarks" / "results"
FOLDER = "speed-resnet32"
EXACT = 1e-9
"""In float64: what is off by less is off by rounding."""
LIBRARIES = {
    "higher-loop": "higher, by hand",
    "torchopt": "TorchOpt",
    "betty-darts": "Betty, DARTS",
    "betty-sama": "Betty, SAMA",
    "learn2learn": "learn2learn",
}
FAR = 9.0
"""Plain steps at which the axis ends."""


@dataclass(frozen=True)
class Engine:
    """A way to the meta-gradient."""

    name: str
    cost: float
    """Plain steps."""
    off: float
    """Relative deviation of the teacher's gradient in float64."""
    ours: bool = True

    @property
    def exact(self) -> bool:
        """But for rounding."""
        return self.off < EXACT


def cost_against_exactness() -> Page:
    """The table of a ResNet-32, as kept."""
    return draw(read(KEPT / FOLDER / "table.csv"), "ResNet-32, batches of 100, two CPU cores")


def read(path: Path) -> list[Engine]:
    """The engines whose cost and deviation were measured with ``lookahead``, and the other libraries."""
    engines = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name, _, more = row["variant"].partition(", ")
            library = LIBRARIES.get(name)
            known = row["ratio_of_medians"] and row["deviation_float64"]
            if known and name != "auto" and (library or more in ("lookahead", "lookahead, replay=snapshots")):
                cost, off = float(row["ratio_of_medians"]), float(row["deviation_float64"])
                engines.append(Engine(library or name, cost, off, library is None))
    return engines


def draw(engines: Sequence[Engine], measured: str) -> Page:
    """A band of exact engines and one of others, each in the order of cost."""
    shown = [engine for engine in engines if engine.cost <= FAR]
    exact = sorted((e for e in shown if e.exact), key=lambda e: e.cost)
    rough = sorted((e for e in shown if not e.exact), key=lambda e: e.cost)
    title = f"The fastest exact meta-gradient takes {exact[0].cost:.1f} plain steps"
    lead = f"Time of a whole iteration in plain training steps, to the left is faster. {measured}."
    step = 27
    heights = [24 + step * len(group) + 10 for group in (exact, rough)]
    page = Page(title, lead, sum(heights) + 34)
    y = page.top
    for group, height, heading, kind in (
        (exact, heights[0], "EXACT to rounding", "clean"),
        (rough, heights[1], "APPROXIMATE: how far the teacher's gradient is off", "flipped"),
    ):
        if group:
            page.box(EDGE - 6, y, WIDTH - 2 * EDGE + 12, height - 6, TINTS[kind])
            page.write(EDGE + 4, y + 14, heading, SMALL, colour=KINDS[kind], weight="bold")
            for place, engine in enumerate(group):
                _point(page, y + 24 + step * (place + 0.5), engine, KINDS[kind])
        y += height
    for tick in range(0, int(FAR) + 1):
        page.write(_x(tick), y + 6, str(tick), SMALL, ha="center")
    page.write(WIDTH - EDGE, y + 24, "plain steps", SMALL, ha="right")
    return page


def _x(cost: float) -> float:
    return EDGE + 8 + cost * (WIDTH - 2 * EDGE - 16) / FAR


def _point(page: Page, y: float, engine: Engine, colour: str) -> None:
    """A line from 0 with a dot, and its name."""
    x = _x(engine.cost)
    page.ground.plot([_x(0), x], [y, y], color=colour, linewidth=2, alpha=0.45)
    look: dict[str, Any] = {"color": colour, "markersize": 10, "markeredgewidth": 2}
    look["fillstyle"] = "full" if engine.ours else "none"
    page.ground.plot([x], [y], "o" if engine.exact else "D", **look)
    said = f"{engine.name}  {engine.cost:.1f}"
    if not engine.exact:
        page.write(
            WIDTH - EDGE - 4, y, f"{engine.off:.0%} off", SMALL, colour=colour, ha="right", weight="bold"
        )
    name: dict[str, Any] = {"colour": COLOURS[0], "weight": "bold"} if engine.ours else {"colour": SOFT}
    page.write(x + 11, y, said, SMALL, **name)
