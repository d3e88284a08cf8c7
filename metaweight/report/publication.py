"""What is published of a comparison, from what its runs left: its tables, statistics, plots and page."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.markdown import Markdown

from metaweight.comparison.arms import Group
from metaweight.core.atomic import whole_file
from metaweight.core.console import Terminal
from metaweight.core.markdown import escaped
from metaweight.core.records import write_record
from metaweight.report.choices import choices_note, read_choices
from metaweight.report.page import Study, read_study, write_page
from metaweight.report.plots import write_plots
from metaweight.report.statistics.standings import (
    Standings,
    print_standings,
    standings,
    standings_to_csv,
    standings_to_markdown,
)
from metaweight.report.tables import Comparison, aggregate, print_table, runs_to_csv, to_csv, to_markdown
from metaweight.report.troubles import Troubles
from metaweight.report.unknown import unknown_note
from metaweight.tasks.figures import Compared
from metaweight.tasks.outcome import Finished, Result


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
    _keep(folder / "table.md", text)
    _keep(folder / "table.csv", to_csv(table))
    _keep(folder / "runs.csv", runs_to_csv(results, table.columns))
    return text


def write_statistics(
    folder: Path,
    heading: str,
    results: Sequence[Result],
    compared: Sequence[Compared],
    *,
    groups: Mapping[str, Group],
) -> Standings | None:
    """Write statistics.json, .md and .csv; None, and no file, where there is nothing to compare."""
    statistics = standings(results, compared, groups=groups)
    if statistics is not None:
        write_record(folder / "statistics.json", statistics)
        text = f"{heading}\n\n{standings_to_markdown(statistics)}"
        _keep(folder / "statistics.md", text)
        _keep(folder / "statistics.csv", standings_to_csv(statistics))
    return statistics


def _keep(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def publish(folder: Path, console: Terminal) -> None:
    """Write table, rows by run, statistics, plots and page into a grid's folder; print what they say.

    All runs of the folder count, whichever start they are of.  Raises as ``read_study``, and at the end, when
    all else is written, MetaweightError that names what could not be drawn.
    """
    study, troubles = read_study(folder), Troubles()
    _publish_runs(study, console, troubles)
    console.print(f"run folder: {folder}", soft_wrap=True)
    console.print(f"report: {write_page(study, troubles=troubles)}", soft_wrap=True)
    warned: dict[str, list[str]] = {}
    for run in study.by_seed:
        for message in run.result.warnings if run.result is not None else ():
            warned.setdefault(message, []).append(run.name)
    for message, names in warned.items():
        console.print(f"warning in {', '.join(names)}: {message}", soft_wrap=True)
    troubles.raise_any()


def _publish_runs(study: Study, console: Terminal, troubles: Troubles) -> None:
    runs = [Finished(run.result, run.folder) for run in study.by_seed if run.result is not None]
    if not runs:
        return
    results, shown, folder = [run.result for run in runs], study.presentation, study.folder
    choices = read_choices(folder)
    tuned = [] if choices is None else [choices_note(choices)]
    own = troubles.attempt("what stands under the table", lambda: list(shown.notes(runs)), lambda why: [why])
    unknown = filter(None, [unknown_note(results)])
    table, notes = aggregate(results, shown.columns), [*own, *tuned, *unknown, *_not_there(study)]
    heading = f"# {escaped(study.data)}"
    write_table(folder, heading, table, results, notes=notes)
    console.print(study.data, style="bold")
    print_table(table, console=console)
    for note in notes:
        console.print(Markdown(note, hyperlinks=False))
    statistics = write_statistics(folder, heading, results, shown.compared, groups=study.groups)
    if statistics is not None:
        print_standings(statistics, console=console)
    troubles.attempt("plots", lambda: _draw(study, folder / "plots", troubles), lambda _: None)


def _draw(study: Study, plots: Path, troubles: Troubles) -> None:
    if plots.is_dir():  # of an earlier start
        shutil.rmtree(plots)
    plots.mkdir()
    write_plots(study, plots, troubles)


def _not_there(study: Study) -> list[str]:
    """The line under a table that names the runs that are not in it."""
    failed = [
        escaped(f"{run.arm} under {run.noise}, seed {run.config.seed}")
        for run in study.by_seed
        if run.state == "failed"
    ]
    return [f"**Failed, and not in these tables**: {'; '.join(failed)} (failures.txt)"] if failed else []
