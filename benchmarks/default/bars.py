"""What the suite asks of an arm: near the best everywhere, never far below plain training, the gap closed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from benchmarks.default.across import CLEAN, PLAIN, Cell, Means, Run

NEAR: Mapping[str, float] = {"translation": 0.3}
"""Task -> how far from a cell's best arm is near, in its unit; of the others 1 point."""
NEAR_ENOUGH, FAR_BELOW, FINDS = 0.9, 3.0, 0.9
"""Asked: share of cells near the best; most below plain training, in points; AUROC."""
GAP = 2.0
"""Points between plain training and right labels from which on a share of it says something."""


@dataclass(frozen=True)
class Bars:
    """One arm over all cells."""

    near: float
    """Share of the cells near the best arm."""
    worst: float | None
    """Its least difference to plain training, and where."""
    worst_at: Cell | None
    closed: float | None
    """Median share of the gap between plain training and right labels that it closes; None: no such cell."""
    finds: float | None
    """Share of the cells with wrong labels in which its mean AUROC is 0.9 or more; None: without weights."""
    far: Sequence[Cell]
    """Cells in which it is not near the best."""


def bars(runs: Sequence[Run], found: Means, arm: str) -> Bars | None:
    """Of one ``arm``; None where it is in no cell."""
    tasks = {run.data: run.task for run in runs}
    own = {cell: values for cell, values in found.items() if arm in values}
    if not own:
        return None
    far = [cell for cell, values in own.items() if max(values.values()) - values[arm] > near(tasks[cell[0]])]
    below = {cell: v[arm] - v[PLAIN] for cell, v in own.items() if PLAIN in v and arm != PLAIN}
    worst_at = min(below, key=below.__getitem__, default=None)
    closed = [share for cell in own if (share := gap_closed(found, cell, arm)) is not None]
    areas = aurocs(runs, arm)
    return Bars(
        near=1 - len(far) / len(own),
        worst=None if worst_at is None else below[worst_at],
        worst_at=worst_at,
        closed=median(closed) if closed and arm != PLAIN else None,
        finds=fmean(area >= FINDS for area in areas.values()) if areas else None,
        far=far,
    )


def near(task: str) -> float:
    """How far from the best arm of a cell is near."""
    return NEAR.get(task, 1.0)


def gap_closed(found: Means, cell: Cell, arm: str) -> float | None:
    """(arm - plain) / (right labels - plain), the latter plain training of the same set without bad data.

    None for that cell itself, and where the gap is smaller than ``GAP``, as under a long tail, which has
    nothing to do with labels.
    """
    data, noise = cell
    clean = found.get((data, CLEAN), {}).get(PLAIN)
    own = found[cell]
    if noise == CLEAN or clean is None or PLAIN not in own or noise.startswith("long-tail"):
        return None
    gap = clean - own[PLAIN]
    return (own[arm] - own[PLAIN]) / gap if gap >= GAP else None


def aurocs(runs: Iterable[Run], arm: str) -> dict[Cell, float]:
    """Cell -> mean AUROC over seeds, of cells in which some labels are wrong."""
    areas: dict[Cell, list[float]] = {}
    for run in runs:
        if run.arm == arm and run.auroc is not None and arm != PLAIN:
            areas.setdefault((run.data, run.noise), []).append(run.auroc)
    return {cell: fmean(values) for cell, values in areas.items()}
