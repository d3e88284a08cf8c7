"""The critical-difference diagram: arms on a line by their rank, a bar over those not told apart."""

from __future__ import annotations

import io
from pathlib import Path

from benchmarks.default.across import DEFAULT, Across
from metaweight.report.charts.panel import COLOURS, SOFT, style


def draw(found: Across, path: Path) -> None:
    """Write ``path``, a PNG.  Raises ValueError without a critical difference, FileExistsError for one."""
    from matplotlib.figure import Figure

    if found.critical is None:
        raise ValueError("a critical difference is one of three arms or more on two sets or more")
    arms, ranks = found.arms, [found.by_set[arm] for arm in found.arms]
    half = (len(arms) + 1) // 2
    cliques = _cliques(ranks, found.critical)
    low = 0.9 + 0.25 * len(cliques)
    with style():
        figure = Figure((9.0, 0.9 + 0.28 * (half + len(cliques))), dpi=144)
        axes = figure.add_axes((0.2, 0, 0.6, 1))
        axes.set(xlim=(0.8, len(arms) + 0.2), ylim=(-low - 0.45 * half, 1.9))
        axes.axis("off")
        axes.hlines(0, 1, len(arms), color=SOFT, linewidth=1)
        for tick in range(1, len(arms) + 1):
            axes.vlines(tick, 0, 0.14, color=SOFT, linewidth=1)
            axes.text(tick, 0.25, str(tick), ha="center", color=SOFT, fontsize=10)
        axes.hlines(1.2, 1, 1 + found.critical, color=COLOURS[0])
        axes.text(1, 1.35, f"critical difference {found.critical:.2f}", color=COLOURS[0], fontsize=10)
        for level, (first, last) in enumerate(cliques):
            y = -0.35 - 0.25 * level
            axes.hlines(y, ranks[first] - 0.05, ranks[last] + 0.05, color=COLOURS[0], linewidth=3)
        for place, (arm, rank) in enumerate(zip(arms, ranks, strict=True)):
            left = place < half
            y = -low - 0.45 * (place if left else len(arms) - 1 - place)
            colour = COLOURS[5] if arm == DEFAULT else COLOURS[0]
            edge = 0.75 if left else len(arms) + 0.25
            axes.plot([rank, rank, edge], [0, y, y], color=colour, linewidth=1, clip_on=False)
            said, side = f"{arm}  {rank:.1f}", "right" if left else "left"
            gap = -0.05 if left else 0.05
            axes.text(edge + gap, y, said, ha=side, va="center", color=colour, fontsize=10, clip_on=False)
        image = io.BytesIO()
        figure.savefig(image, format="png", facecolor="white", metadata={"Software": None})
    with path.open("xb") as file:
        file.write(image.getvalue())


def _cliques(ranks: list[float], critical: float) -> list[tuple[int, int]]:
    """First and last place of each longest group of arms that are not told apart; ``ranks`` ascend."""
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(at for at in range(first, len(ranks)) if ranks[at] - ranks[first] < critical)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
