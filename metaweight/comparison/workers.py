"""The runs of a grid side by side, each in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from metaweight.comparison.cells import Cell, CellResult, Progress, failed, run_cell
from metaweight.core.jobs import side_by_side


@dataclass(frozen=True)
class _Runs:
    """What a process does with a cell."""

    folder: Path
    timed: int | None

    def __call__(self, cell: Cell, tell: Progress, device: str | None) -> CellResult:
        """The cell's run, on ``device`` where one is given; the result is the cell's, wherever it ran."""
        cost = cell.config.seed == self.timed
        if device is None:
            return run_cell(cell, self.folder, tell, cost=cost)
        if (place := torch.device(device)).type == "cuda" and place.index is not None:
            torch.cuda.set_device(place)
        there = replace(cell, config=replace(cell.config, device=device))
        return replace(run_cell(there, self.folder, tell, cost=cost), cell=cell)


def run_cells(
    cells: Sequence[Cell],
    folder: Path,
    *,
    jobs: int = 1,
    devices: Sequence[str] = (),
    timed: int | None = None,
    progress: Progress | None = None,
) -> list[CellResult]:
    """Run every cell, ``jobs`` at a time with the CPU's threads shared out; results in the cells' order.

    ``devices``: each run takes one that is free, as many at a time as are named; none: the device that its
    own options say.  The cost of an iteration is measured in the cells of the seed ``timed``.  Raises
    ValueError for fewer jobs than one.
    """
    tell = progress or (lambda _cell: None)
    return side_by_side(_Runs(folder, timed), cells, jobs=jobs, places=devices, tell=tell, lost=failed)
