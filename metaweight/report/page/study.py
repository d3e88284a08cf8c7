"""What lies in the folder of a run or of a grid, finished or not, as values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from msgspec import structs

from metaweight.comparison.arms import PLAIN, Group
from metaweight.comparison.cells import Cell, alone
from metaweight.comparison.plain import BESIDE
from metaweight.comparison.records import PLAN, Failure, read_failures, read_grid_plan
from metaweight.core.records import read_record
from metaweight.report.page.progress import Epochs, progress_of
from metaweight.report.statistics.gain import Gain, gain_of
from metaweight.tasks import tasks
from metaweight.tasks.base import kept_config, kept_task
from metaweight.tasks.config import RunConfig, config_from
from metaweight.tasks.figures import Column, Compared, Presentation
from metaweight.tasks.outcome import RESULT, RunResult
from metaweight.training.run_folder import RunFolder

State = Literal["finished", "failed", "unfinished", "missing"]
PLAINLY = "plain training"
"""What the plain run beside a run is called."""


@dataclass(frozen=True)
class ReadRun:
    """One run as its folder shows it."""

    name: str
    arm: str
    """What is compared, as the table prints it."""
    noise: str
    """The kind of noise as the table prints it."""
    config: RunConfig
    folder: Path
    state: State
    result: RunResult | None = None
    """Of a finished run."""
    epochs: Epochs = ()
    """A row of figures for each epoch that is done."""
    layers: tuple[str, ...] = ()
    attention: tuple[tuple[float, ...], ...] = ()
    """[epochs, L], the teacher's share of attention on each of ``layers``; NaN where it broke."""
    error: str = ""
    """First line of a failed run's error."""

    @property
    def figures(self) -> Mapping[str, float | None]:
        """Of a finished run; None where one is undefined."""
        return {} if self.result is None else self.result.figures


@dataclass(frozen=True)
class Study:
    """A run, perhaps with plain training beside it, or all runs of a grid."""

    folder: Path
    title: str
    """The data set, with its origin where the manifest says it."""
    task: str
    runs: tuple[ReadRun, ...]
    manifests: tuple[Mapping[str, Any], ...]
    """The first start's and those of later ones."""
    grid: bool
    data: str = ""
    """Name of a grid's data set, over its table."""
    groups: Mapping[str, Group] = field(default_factory=dict)
    """Arm of a grid -> what it counts as."""
    base: str = PLAIN
    """The arm that others are compared with."""
    notes: tuple[str, ...] = ()
    """What could not be read, in sentences."""

    @property
    def presentation(self) -> Presentation:
        """How people see what runs of the task gave."""
        presentation: Presentation = tasks[self.task].presentation
        return presentation.of(self.results) if self.grid else presentation.measured(self.results)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of the task's table; the first one is the main figure."""
        return self.presentation.columns

    @property
    def main(self) -> Column:
        """The figure that arms are compared by."""
        return self.columns[0]

    @property
    def compared(self) -> Compared:
        """The same figure, as its differences are spoken of."""
        return self.presentation.compared[0]

    @property
    def results(self) -> list[RunResult]:
        """Of the finished runs; in no grid with their figures of validation samples."""
        found = [(run.arm, run.result) for run in self.runs if run.result is not None]
        if self.grid:
            return [result for _, result in found]
        return [structs.replace(result.with_validation(), arm=arm) for arm, result in found]

    @property
    def gain(self) -> Gain | None:
        """Of a finished run over the plain one beside it, where that has ended too."""
        if self.grid or len(self.results) < 2:
            return None
        run, plain = self.results
        return gain_of(run, plain, tasks[self.task].presentation)

    @property
    def by_seed(self) -> list[ReadRun]:
        """The runs in the order of a grid: seed by seed."""
        return sorted(self.runs, key=lambda run: run.config.seed)

    @property
    def arms(self) -> list[str]:
        """In the order in which the grid names them."""
        return list(dict.fromkeys(run.arm for run in self.runs))

    @property
    def noises(self) -> list[str]:
        """In the order in which the grid names them."""
        return list(dict.fromkeys(run.noise for run in self.runs))

    def runs_of(self, arm: str, noise: str) -> list[ReadRun]:
        """All seeds of an arm under a kind of noise."""
        return [run for run in self.runs if run.arm == arm and run.noise == noise]


def read_study(folder: Path | str) -> Study:
    """Read the folder of `metaweight train`, of one cell, or of a grid, whatever of it is there.

    Raises FileNotFoundError where there is no manifest.json, ValueError where it is damaged or is that of
    something else, for a grid of an older version and a task that is not installed.
    """
    folder = Path(folder)
    about = RunFolder.open(folder).manifest()
    config = about.get("config")
    if not isinstance(config, Mapping) or not {"teacher", "base"} & config.keys():
        raise ValueError(
            f"{folder} holds neither a run nor a grid: its manifest.json names no teacher; "
            "name a folder of metaweight train or metaweight compare"
        )
    reader = _read_grid if "base" in config else _read_single
    return reader(folder, about)


def _read_single(folder: Path, about: Mapping[str, Any]) -> Study:
    config = kept_config(about, folder / "manifest.json")
    run, notes = _read_run(alone(config, folder.name), folder, None)
    runs = [run]
    if (folder / BESIDE / "manifest.json").is_file():
        beside = RunFolder.open(folder / BESIDE)
        of_plain = kept_config(beside.manifest(), beside.path / "manifest.json")
        plain, trouble = _read_run(replace(alone(of_plain, BESIDE), arm=PLAINLY), beside.path, None)
        runs, notes = [run, plain], [*notes, *trouble]
    title = str(about.get("data", config.data))
    return Study(
        folder, title, config.task, tuple(runs), (about,), grid=False, base=PLAINLY, notes=tuple(notes)
    )


def _read_grid(folder: Path, about: Mapping[str, Any]) -> Study:
    own, plan = RunFolder(folder), read_grid_plan(folder)
    manifests = (about, *(own.manifest(name) for name in own.later_manifests()))
    arms = list(dict.fromkeys(run.arm for run in plan.runs))
    noises = list(dict.fromkeys(run.noise for run in plan.runs))
    kind, failures = kept_task(plan.task, folder / PLAN).config, read_failures(folder)
    runs, notes = [], []
    for one in sorted(plan.runs, key=lambda r: (noises.index(r.noise), arms.index(r.arm), r.seed)):
        cell = Cell(one.name, config_from(kind, one.options, folder / PLAN), one.noise, one.arm)
        run, trouble = _read_run(cell, folder / "cells" / one.name, failures.get(one.name))
        runs.append(run)
        notes += trouble
    return Study(
        folder,
        str(about.get("data", plan.data)),
        plan.task,
        tuple(runs),
        manifests,
        grid=True,
        data=plan.data,
        groups={run.arm: run.group for run in plan.runs},
        notes=tuple(notes),
    )


def _read_run(cell: Cell, place: Path, failure: Failure | None) -> tuple[ReadRun, list[str]]:
    """The run in ``place``, and what is wrong with its files."""
    notes = []
    about = (cell.name, cell.arm, cell.noise, cell.config, place)
    if (place / RESULT).is_file():
        try:
            result = read_record(RunResult, place / RESULT)
        except ValueError as error:
            notes.append(
                f"{RESULT} of {cell.name} is damaged or half written ({error}); the run counts as not "
                "finished."
            )
        else:
            shares = tuple(tuple(math.nan if v is None else v for v in row) for row in result.attention)
            return ReadRun(*about, "finished", result, result.history, result.layers, shares), notes
    progress, trouble = progress_of(place)
    state: State = "unfinished" if place.is_dir() else "missing"
    return ReadRun(
        *about,
        state if failure is None else "failed",
        epochs=progress.epochs,
        layers=progress.layers,
        attention=progress.attention,
        error="" if failure is None else failure.error,
    ), notes + trouble
