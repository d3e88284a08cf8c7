"""A comparison from start to published table: run the grid with a live display, keep what came out."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from metaweight.compare import CellResult, Grid, run_grid
from metaweight.contracts import MetaweightError
from metaweight.pictures import draw
from metaweight.preparation import prepare
from metaweight.progress import GridProgress
from metaweight.report.record import RunFolder, manifest
from metaweight.report.tables import Result, aggregate, print_table, to_csv, to_markdown
from metaweight.teachers.base import registry as teachers


def compare(grid: Grid, path: Path, *, jobs: int, console: Console) -> list[CellResult]:
    """Run a grid and write manifest, table, per-run rows and plots into the new folder ``path``.

    Raises MetaweightError, after everything is written, where a cell failed.
    """
    for teacher in grid.teachers:
        _ = teachers[teacher]  # an unknown name stops here, not in the first cell
    cells = grid.cells()
    images = prepare(cells[0].config).images  # and so does a missing data folder
    config = asdict(grid)
    folder = RunFolder.create(
        path, manifest(config, sys.argv) | {"data": f"{images.name}: {images.source}", "jobs": jobs}
    )
    with GridProgress(console, [cell.name for cell in cells]) as shown:
        results = run_grid(grid, folder.path, jobs=jobs, progress=shown)
    publish(results, folder.path, console, title=images.name)
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


def publish(results: Sequence[CellResult], folder: Path, console: Console, *, title: str) -> None:
    """Write table.md, table.csv, runs.csv, failures.txt and the plots; print the table."""
    rows = [row for result in results if (row := result.row()) is not None]
    failed = [result for result in results if result.error is not None]
    if failed:
        (folder / "failures.txt").write_text("\n\n".join(f"{r.cell.name}\n{r.error}" for r in failed))
    if not rows:
        return
    table = aggregate(rows)
    (folder / "table.md").write_text(f"# {title}\n\n{to_markdown(table)}", encoding="utf-8")
    (folder / "table.csv").write_text(to_csv(table))
    write_runs(rows, folder / "runs.csv")
    console.print(title, style="bold", highlight=False)
    print_table(table, console=console)
    draw(results, folder)


def write_runs(rows: Sequence[Result], path: Path) -> None:
    """Every single run's figures as CSV."""
    extra = sorted({name for row in rows for name in row.extra})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["noise", "teacher", "seed", "accuracy", "auroc", "cost", *extra])
        for row in rows:
            figures = [row.accuracy, row.auroc, row.cost, *(row.extra.get(name) for name in extra)]
            writer.writerow([row.noise, row.teacher, row.seed, *figures])
