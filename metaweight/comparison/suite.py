"""A comparison from start to end: run the grid with a live display, keep what came out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metaweight.comparison.cells import Cell, CellResult, check_options, planned
from metaweight.comparison.choices import CHOICES
from metaweight.comparison.grid import Grid
from metaweight.comparison.progress import GridProgress
from metaweight.comparison.records import (
    PLAN,
    GridPlan,
    read_grid_plan,
    write_failures,
    write_grid_plan,
)
from metaweight.comparison.resumption import require_same_runs
from metaweight.comparison.tuning import Tuning, candidates, choose, tuned
from metaweight.comparison.workers import run_cells
from metaweight.core.console import Terminal
from metaweight.core.contracts import MetaweightError
from metaweight.core.jobs import require_jobs
from metaweight.core.records import write_record
from metaweight.core.registry import did_you_mean
from metaweight.remedies import check
from metaweight.student.execution.execution import require_device
from metaweight.tasks import Prepared, described, tasks
from metaweight.tasks.config import RunConfig
from metaweight.training.run_folder import RunFolder, manifest


@dataclass(frozen=True)
class GridResult:
    """What a comparison gave."""

    folder: Path
    results: tuple[CellResult, ...]
    """In the order of the grid's cells."""

    def require_all(self) -> None:
        """Raise MetaweightError, with the first error, where a run failed."""
        if message := _failures("runs", self.results, "failures.txt"):
            raise MetaweightError(message)


def compare(
    grid: Grid,
    path: Path,
    *,
    jobs: int,
    console: Terminal,
    devices: Sequence[str] = (),
    resume: bool = False,
    tuning: Tuning | None = None,
) -> GridResult:
    """Run a grid in the new folder ``path``: its manifest and plan, a folder for each run, what failed.

    ``jobs`` and ``devices``: how many runs side by side and where, as ``run_cells``.
    With ``resume`` it goes on in a folder that is there: finished runs are read, stopped ones go on from
    their checkpoints; teachers, noises and seeds may be more or fewer, options must be the same.
    With ``tuning`` every arm's options are chosen on the validation set first, by runs below ``tuning/``.
    A run that fails is one of the results.
    """
    cells = grid.cells()
    attempts = candidates(grid, tuning) if tuning is not None else []
    trials = [cell for one in attempts for cell in one.cells]
    prepared = _checked(grid, [*cells, *trials], jobs, devices)
    task = grid.base.task
    if tuning is not None:
        figure, higher = _scored_by(tuning, cells[0].config, prepared)
    about = {"data": described(prepared), "jobs": len(devices) or jobs}
    about |= {"devices": list(devices)} if devices else {}
    about |= {"tuning": asdict(tuning)} if tuning is not None else {}
    about = {"task": task} | manifest(asdict(grid), sys.argv) | about
    below = {path / "tuning": trials} if trials else {path: cells}
    folder = RunFolder.open(path) if resume else RunFolder.create(path, about)
    with folder.held() as left:
        for line in filter(None, (left, *(_reopen(folder, below, about) if resume else ()))):
            console.print(line, soft_wrap=True)
        _keep_plan(path, prepared, cells)
        counted = tasks[task].presentation.counted
        if trials:
            console.print(f"tuning on the validation set: {len(trials)} runs")
            with GridProgress(console, [cell.name for cell in trials], counted=counted) as display:
                trial_results = run_cells(
                    trials, path / "tuning", jobs=jobs, devices=devices, progress=display
                )
            choices = choose(attempts, trial_results, figure=figure, higher_is_better=higher)
            write_record(path / CHOICES, choices)
            _keep_failures(path / "tuning", trial_results)
            if message := _failures("tuning runs", trial_results, "tuning/failures.txt"):
                console.print(message, style="red", soft_wrap=True)
            cells = tuned(grid, choices).cells()
            _keep_plan(path, prepared, cells)
            require_same_runs([(cell, path / "cells" / cell.name) for cell in cells])
        with GridProgress(console, [cell.name for cell in cells], counted=counted) as display:
            results = run_cells(
                cells, folder.path, jobs=jobs, devices=devices, timed=grid.seeds[0], progress=display
            )
        _keep_failures(folder.path, results)
        return GridResult(folder.path, tuple(results))


def _checked(grid: Grid, cells: Sequence[Cell], jobs: int, devices: Sequence[str]) -> Prepared:
    """The data of the first of ``cells``; a mistake stops here, not in the first cell that makes it."""
    require_jobs(jobs)
    for device in devices:
        require_device(device)
    for cell in cells:
        check_options(cell.config)
    require_device(grid.base.device)
    prepared: Prepared = tasks[grid.base.task].prepare(cells[0].config)
    of_this_noise = [cell.config for cell in cells if cell.noise == cells[0].noise]
    for config in {(one.remedy, repr(one.remedy_options)): one for one in of_this_noise}.values():
        check(config, prepared)
    return prepared


def _scored_by(tuning: Tuning, config: RunConfig, prepared: Prepared) -> tuple[str, bool]:
    """The figure that the tuning chooses by, and whether more of it is better.

    Raises as ``Tuning.scored_by``, and KeyError, with the nearest one, where nothing measures it.
    """
    task = tasks[config.task]
    evaluation = task.evaluation(config, prepared)
    figure, higher = tuning.scored_by(evaluation)
    if figure != evaluation.monitor:
        student = task.build(config, prepared).student
        names = [f"valid_{name}" for name in evaluation.function(student, evaluation.batches["valid"])]
        if figure not in names:
            raise KeyError(f"tuning: nothing measures {figure!r}.{did_you_mean(figure, names)}")
    return figure, higher


def _failures(what: str, results: Sequence[CellResult], file: str) -> str:
    """How many failed and what the first one ended in; empty where none did."""
    failures = [result.failure for result in results if result.failure is not None]
    if not failures:
        return ""
    first = f"{failures[0].name}: {failures[0].error}"
    return f"{len(failures)} of {len(results)} {what} failed; {first} (all in {file})"


def _keep_plan(folder: Path, prepared: Prepared, cells: Sequence[Cell]) -> None:
    runs = tuple(map(planned, cells))
    write_grid_plan(folder, GridPlan(task=cells[0].config.task, data=prepared.title, runs=runs))


def _keep_failures(folder: Path, results: Sequence[CellResult]) -> None:
    failures = [result.failure for result in results if result.failure is not None]
    write_failures(folder, [result.cell.name for result in results], failures)


def _reopen(folder: RunFolder, below: Mapping[Path, Sequence[Cell]], about: Mapping[str, Any]) -> list[str]:
    """Take up the folder of an earlier start of this grid; what is new there, in lines.

    A manifest of its own says what goes on.  Raises as ``read_grid_plan`` and ``require_same_runs``.
    """
    # without a plan it was stopped before its first run, or an older version made it
    if (folder.path / PLAN).is_file() or any((folder.path / name).is_dir() for name in ("cells", "tuning")):
        read_grid_plan(folder.path)
    there = [(cell, place / "cells" / cell.name) for place, cells in below.items() for cell in cells]
    notes = require_same_runs(there)
    folder.write_manifest(about)
    return notes
