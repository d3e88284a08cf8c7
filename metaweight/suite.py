"""A comparison from start to published table: run the grid with a live display, keep what came out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from metaweight.arms import stands_for
from metaweight.atomic import whole_file
from metaweight.cells import Cell, CellResult, keep_failures, require_same_options
from metaweight.compare import Grid, require_jobs, run_cells
from metaweight.config import RunConfig
from metaweight.contracts import MetaweightError
from metaweight.devices import require_device
from metaweight.page import write_page
from metaweight.progress import GridProgress
from metaweight.registry import did_you_mean
from metaweight.remedies import build_remedy, check
from metaweight.report.publication import write_statistics, write_table
from metaweight.report.record import RunFolder, manifest
from metaweight.report.standings import groups_of, print_standings
from metaweight.report.tables import aggregate, print_table
from metaweight.reweighter.options import check_epochs
from metaweight.tasks import Prepared, described, tasks
from metaweight.teachers.base import registry as teachers
from metaweight.tuning import Tuning, candidates, choose


def compare(
    grid: Grid,
    path: Path,
    *,
    jobs: int,
    console: Console,
    resume: bool = False,
    tuning: Tuning | None = None,
) -> list[CellResult]:
    """Run a grid and write manifest, table, per-run rows, plots and report.html into the new folder ``path``.

    With ``resume`` it goes on in a folder that is there: finished runs are read, stopped ones go on from
    their checkpoints; teachers, noises and seeds may be more or fewer, options must be the same.
    With ``tuning`` every arm's options are chosen on the validation set first, by runs below ``tuning/``.
    Raises MetaweightError, after everything is written, where a cell failed.
    """
    cells = grid.cells()
    tried = candidates(grid, tuning) if tuning is not None else []
    trials = [cell for one in tried for cell in one.cells]
    prepared = _checked(grid, [*cells, *trials], jobs)
    task = grid.base.task
    if tuning is not None:
        figure, higher = _scored_by(tuning, cells[0].config, prepared)
    about = {"data": described(prepared), "jobs": jobs}
    about |= {"tuning": asdict(tuning)} if tuning is not None else {}
    about = {"task": task} | manifest(asdict(grid), sys.argv) | about
    below = {path / "tuning": trials} if trials else {path: cells}
    folder = _reopen(path, below, about) if resume else RunFolder.create(path, about)
    counted, notes = tasks[task].counted, []
    if trials:
        console.print(f"tuning on the validation set: {len(trials)} runs", highlight=False)
        with GridProgress(console, [cell.name for cell in trials], counted=counted) as shown:
            trial_results = run_cells(trials, path / "tuning", jobs=jobs, progress=shown)
        choices = choose(tried, trial_results, figure=figure, higher_is_better=higher)
        with whole_file(path / "choices.csv") as file:
            file.write(choices.to_csv().encode())
        keep_failures(trial_results, path / "tuning" / "failures.txt")
        if said := _failures("tuning runs", trial_results, "tuning/failures.txt"):
            console.print(said, style="red", soft_wrap=True, highlight=False)
        cells, notes = choices.applied(grid).cells(), [choices.note()]
        for cell in cells:
            require_same_options(cell, path / "cells" / cell.name)
    with GridProgress(console, [cell.name for cell in cells], counted=counted) as shown:
        results = run_cells(cells, folder.path, jobs=jobs, timed=grid.seeds[0], progress=shown)
    publish(results, folder.path, console, title=prepared.title, notes=notes)
    console.print(f"run folder: {folder.path}", soft_wrap=True, highlight=False)
    console.print(f"report: {write_page(folder.path)}", soft_wrap=True, highlight=False)
    for message in dict.fromkeys(text for result in results for text in result.warnings):
        cells_of = [result.cell.name for result in results if message in result.warnings]
        console.print(f"warning in {', '.join(cells_of)}: {message}", soft_wrap=True, highlight=False)
    if said := _failures("runs", results, "failures.txt"):
        raise MetaweightError(said)
    return results


def _checked(grid: Grid, cells: Sequence[Cell], jobs: int) -> Prepared:
    """The data of the first of ``cells``; a mistake stops here, not in the first cell that makes it."""
    require_jobs(jobs)
    for cell in cells:
        _ = teachers[cell.config.teacher]
        check_epochs(cell.config.epochs, cell.config.warmup_epochs, cell.config.evaluate_every)
        build_remedy(cell.config)
        tasks[cell.config.task].check(cell.config)
    require_device(grid.base.device)
    prepared: Prepared = tasks[grid.base.task].prepare(cells[0].config)
    of_this_noise = [cell.config for cell in cells if cell.noise == cells[0].noise]
    for config in {(one.remedy, one.remedy_options): one for one in of_this_noise}.values():
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
        known = [f"valid_{name}" for name in evaluation.function(student, evaluation.batches["valid"])]
        if figure not in known:
            raise KeyError(f"tuning: nothing measures {figure!r}.{did_you_mean(figure, known)}")
    return figure, higher


def _failures(what: str, results: Sequence[CellResult], file: str) -> str:
    """How many failed and what the first one ended in; empty where none did."""
    failed = [result for result in results if result.error is not None]
    if not failed:
        return ""
    first = (failed[0].error or "").splitlines()[0]
    return f"{len(failed)} of {len(results)} {what} failed; {failed[0].cell.name}: {first} (all in {file})"


def _reopen(path: Path, below: Mapping[Path, Sequence[Cell]], about: Mapping[str, Any]) -> RunFolder:
    """The folder of an earlier start of this grid; says in a manifest of its own what goes on there."""
    folder = RunFolder.open(path)
    for place, cells in below.items():
        for cell in cells:
            require_same_options(cell, place / "cells" / cell.name)
    folder.write_manifest(about, f"manifest-{len(folder.later_manifests()) + 2}.json")
    return folder


def publish(
    results: Sequence[CellResult],
    folder: Path,
    console: Console,
    *,
    title: str,
    notes: Sequence[str] = (),
) -> None:
    """Write table, rows by run, statistics, failures.txt and the plots; print the table and what it says.

    ``notes`` stand under the table, behind the task's own.
    """
    keep_failures(results, folder / "failures.txt")
    rows = [row for result in results if (row := result.row()) is not None]
    if not rows:
        return
    task = tasks[results[0].cell.config.task]
    runs = [run for result in results if (run := result.finished()) is not None]
    table, notes = aggregate(rows, task.columns), [*task.notes(runs), *notes, *_not_there(results)]
    write_table(folder, f"# {title}", table, rows, notes=notes)
    console.print(title, style="bold", highlight=False)
    print_table(table, console=console)
    for note in notes:
        console.print(note, highlight=False, markup=False)
    names = {result.cell.arm: stands_for(vars(result.cell.config)) for result in results}
    found = write_statistics(folder, f"# {title}", rows, task.compared, groups=groups_of(names))
    if found is not None:
        print_standings(found, console=console)
    plots = folder / "plots"
    if plots.is_dir():  # of an earlier start
        shutil.rmtree(plots)
    plots.mkdir()
    task.draw(runs, plots)


def _not_there(results: Sequence[CellResult]) -> list[str]:
    """The line under a table that names the runs that are not in it."""
    failed = [
        f"{result.cell.arm} under {result.cell.noise}, seed {result.cell.config.seed}"
        for result in results
        if result.error is not None
    ]
    return [f"**Failed, and not in these tables**: {'; '.join(failed)} (failures.txt)"] if failed else []
