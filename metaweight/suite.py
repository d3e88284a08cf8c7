"""A comparison from start to published table: run the grid with a live display, keep what came out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from metaweight.cells import Cell, CellResult, require_same_options
from metaweight.compare import Grid, run_grid
from metaweight.contracts import MetaweightError
from metaweight.devices import require_device
from metaweight.progress import GridProgress
from metaweight.remedies import build_remedy
from metaweight.report.record import RunFolder, manifest
from metaweight.report.standings import (
    groups_of,
    print_standings,
    standings,
    standings_to_csv,
    standings_to_markdown,
)
from metaweight.report.tables import aggregate, print_table, runs_to_csv, to_csv, to_markdown
from metaweight.tasks import described, tasks
from metaweight.teachers.base import registry as teachers


def compare(grid: Grid, path: Path, *, jobs: int, console: Console, resume: bool = False) -> list[CellResult]:
    """Run a grid and write manifest, table, per-run rows and plots into the new folder ``path``.

    With ``resume`` it goes on in a folder that is there: finished runs are read, stopped ones go on from
    their checkpoints; teachers, noises and seeds may be more or fewer, options must be the same.
    Raises MetaweightError, after everything is written, where a cell failed.
    """
    cells = grid.cells()
    for cell in cells:  # an unknown name stops here, not in the first cell
        _ = teachers[cell.config.teacher]
        build_remedy(cell.config)
        tasks[cell.config.task].check(cell.config)
    require_device(grid.base.device)
    task = grid.base.task
    prepared = tasks[task].prepare(cells[0].config)  # and so does a missing data folder
    about = {"data": described(prepared), "jobs": jobs}
    about = {"task": task} | manifest(asdict(grid), sys.argv) | about
    folder = _reopen(path, cells, about) if resume else RunFolder.create(path, about)
    with GridProgress(console, [cell.name for cell in cells], counted=tasks[task].counted) as shown:
        results = run_grid(grid, folder.path, jobs=jobs, progress=shown)
    publish(results, folder.path, console, title=prepared.title)
    console.print(f"run folder: {folder.path}", soft_wrap=True, highlight=False)
    for message in dict.fromkeys(text for result in results for text in result.warnings):
        cells_of = [result.cell.name for result in results if message in result.warnings]
        console.print(f"warning in {', '.join(cells_of)}: {message}", soft_wrap=True, highlight=False)
    failed = [result for result in results if result.error is not None]
    if failed:
        first = (failed[0].error or "").splitlines()[0]
        raise MetaweightError(
            f"{len(failed)} of {len(results)} runs failed; {failed[0].cell.name}: {first} "
            "(all in failures.txt)"
        )
    return results


def _reopen(path: Path, cells: Sequence[Cell], about: Mapping[str, Any]) -> RunFolder:
    """The folder of an earlier start of this grid; says in a manifest of its own what goes on there."""
    folder = RunFolder.open(path)
    for cell in cells:
        require_same_options(cell, path / "cells" / cell.name)
    number = 2
    while (path / f"manifest-{number}.json").exists():
        number += 1
    folder.write_manifest(about, f"manifest-{number}.json")
    return folder


def publish(results: Sequence[CellResult], folder: Path, console: Console, *, title: str) -> None:
    """Write table, rows by run, statistics, failures.txt and the plots; print the table and what it says."""
    failed = [result for result in results if result.error is not None]
    (folder / "failures.txt").unlink(missing_ok=True)  # of an earlier start
    if failed:
        (folder / "failures.txt").write_text("\n\n".join(f"{r.cell.name}\n{r.error}" for r in failed))
    rows = [row for result in results if (row := result.row()) is not None]
    if not rows:
        return
    task = tasks[results[0].cell.config.task]
    runs = [run for result in results if (run := result.finished()) is not None]
    table, notes = aggregate(rows, task.columns), task.notes(runs)
    text = "\n".join([f"# {title}\n", to_markdown(table), *(f"{note}\n" for note in notes)])
    (folder / "table.md").write_text(text, encoding="utf-8")
    (folder / "table.csv").write_text(to_csv(table))
    (folder / "runs.csv").write_text(runs_to_csv(rows, task.columns), encoding="utf-8", newline="")
    console.print(title, style="bold", highlight=False)
    print_table(table, console=console)
    for note in notes:
        console.print(note, highlight=False, markup=False)
    teachers_of = {result.cell.arm: result.cell.config.teacher for result in results}
    found = standings(rows, task.compared, groups=groups_of(teachers_of))
    if found is not None:
        text = f"# {title}\n\n{standings_to_markdown(found)}"
        (folder / "statistics.md").write_text(text, encoding="utf-8")
        (folder / "statistics.csv").write_text(standings_to_csv(found), encoding="utf-8")
        print_standings(found, console=console)
    plots = folder / "plots"
    if plots.is_dir():  # of an earlier start
        shutil.rmtree(plots)
    plots.mkdir()
    task.draw(runs, plots)
