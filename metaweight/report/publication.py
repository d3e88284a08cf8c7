"""What is published of a comparison: its tables, statistics, plots and page."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from metaweight.comparison.arms import stands_for
from metaweight.comparison.cells import CellResult
from metaweight.comparison.suite import GridResult
from metaweight.report.page import read_study, write_page
from metaweight.report.plots import write_plots
from metaweight.report.statistics.standings import (
    Standings,
    groups_of,
    print_standings,
    standings,
    standings_to_csv,
    standings_to_markdown,
)
from metaweight.report.tables import Comparison, aggregate, print_table, runs_to_csv, to_csv, to_markdown
from metaweight.tasks import tasks
from metaweight.tasks.figures import Compared, Result


def write_table(
    folder: Path,
    heading: str,
    table: Comparison,
    results: Sequence[Result],
    *,
    notes: Sequence[str] = (),
) -> str:
    """Write table.md, with its ``heading`` (Markdown) and the ``notes`` under it, table.csv and runs.csv.

    ``table`` is that of ``results``; returns the text of table.md.
    """
    text = "\n".join([f"{heading}\n", to_markdown(table), *(f"{note}\n" for note in notes)])
    (folder / "table.md").write_text(text, encoding="utf-8")
    (folder / "table.csv").write_text(to_csv(table), encoding="utf-8")
    (folder / "runs.csv").write_text(runs_to_csv(results, table.columns), encoding="utf-8", newline="")
    return text


def write_statistics(
    folder: Path,
    heading: str,
    results: Sequence[Result],
    compared: Sequence[Compared],
    *,
    groups: Mapping[str, str],
) -> Standings | None:
    """Write statistics.md and statistics.csv; None, and no file, where there is nothing to compare."""
    found = standings(results, compared, groups=groups)
    if found is not None:
        text = f"{heading}\n\n{standings_to_markdown(found)}"
        (folder / "statistics.md").write_text(text, encoding="utf-8")
        (folder / "statistics.csv").write_text(standings_to_csv(found), encoding="utf-8")
    return found


def publish(compared: GridResult, console: Console) -> None:
    """Write table, rows by run, statistics, plots and page into the folder; print what they say."""
    _publish_runs(compared, console)
    console.print(f"run folder: {compared.folder}", soft_wrap=True, highlight=False)
    console.print(f"report: {write_page(compared.folder)}", soft_wrap=True, highlight=False)
    for message in dict.fromkeys(text for result in compared.results for text in result.warnings):
        cells = [result.cell.name for result in compared.results if message in result.warnings]
        console.print(f"warning in {', '.join(cells)}: {message}", soft_wrap=True, highlight=False)


def _publish_runs(compared: GridResult, console: Console) -> None:
    results, folder, title = compared.results, compared.folder, compared.title
    rows = [row for result in results if (row := result.row()) is not None]
    if not rows:
        return
    task = tasks[results[0].cell.config.task]
    runs = [run for result in results if (run := result.finished()) is not None]
    table, notes = aggregate(rows, task.columns), [*task.notes(runs), *compared.notes, *_not_there(results)]
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
    write_plots(read_study(folder), plots)


def _not_there(results: Sequence[CellResult]) -> list[str]:
    """The line under a table that names the runs that are not in it."""
    failed = [
        f"{result.cell.arm} under {result.cell.noise}, seed {result.cell.config.seed}"
        for result in results
        if result.error is not None
    ]
    return [f"**Failed, and not in these tables**: {'; '.join(failed)} (failures.txt)"] if failed else []
