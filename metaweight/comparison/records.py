"""What a grid leaves beside the folders of its runs: which runs it is of, and which of them failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaweight.comparison.arms import Group
from metaweight.core.atomic import whole_file, writing
from metaweight.core.records import Record, read_record, write_record

PLAN, FAILURES = "plan.json", "failures.json"


class PlannedRun(Record, frozen=True, kw_only=True):
    """One run of a grid."""

    name: str
    """Of its folder below ``cells/``."""
    arm: str
    group: Group
    noise: str
    seed: int
    options: Mapping[str, Any]
    """All that decide it."""


class GridPlan(Record, frozen=True, kw_only=True):
    """plan.json: every run of a grid, in the order in which its starts named them."""

    task: str
    data: str
    """Name of the data set."""
    runs: tuple[PlannedRun, ...]


def write_grid_plan(folder: Path, plan: GridPlan) -> None:
    """Write the plan of a start, beside the other runs of earlier ones."""
    earlier = read_record(GridPlan, folder / PLAN).runs if (folder / PLAN).is_file() else ()
    runs = {run.name: run for run in (*earlier, *plan.runs)}
    write_record(folder / PLAN, GridPlan(task=plan.task, data=plan.data, runs=tuple(runs.values())))


def read_grid_plan(folder: Path) -> GridPlan:
    """Raises ValueError where an older version ran the grid, or the file is damaged."""
    if not (folder / PLAN).is_file():
        raise ValueError(
            f"{folder} has no {PLAN}: an older version of metaweight ran this grid; run it again"
        )
    return read_record(GridPlan, folder / PLAN)


class Failure(Record, frozen=True):
    """What ended a run."""

    name: str
    """The run's."""
    error: str
    """Type and message, one line."""
    traceback: str


class Failures(Record, frozen=True):
    """failures.json: the runs of a grid that failed when they were last started."""

    failures: tuple[Failure, ...] = ()


def read_failures(folder: Path) -> Mapping[str, Failure]:
    """By the run's name."""
    path = folder / FAILURES
    failures = read_record(Failures, path).failures if path.is_file() else ()
    return {failure.name: failure for failure in failures}


def write_failures(folder: Path, started: Sequence[str], failed: Sequence[Failure]) -> None:
    """Write the failures among the runs ``started``, beside those of others; failures.txt is for people."""
    others = [failure for name, failure in read_failures(folder).items() if name not in started]
    failures = (*others, *failed)
    text = folder / "failures.txt"
    if not failures:
        (folder / FAILURES).unlink(missing_ok=True)
        text.unlink(missing_ok=True)
        return
    with writing(folder):
        folder.mkdir(exist_ok=True)  # a run may fail before it makes its own
    write_record(folder / FAILURES, Failures(failures))
    content = "\n\n".join(f"{f.name}\n{f.error}\n{f.traceback}" for f in failures)
    with whole_file(text) as file:
        file.write(content.encode("utf-8", "replace"))
