"""What lies in the folder of a run or of a grid, finished or not, as values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from metaweight.comparison.cells import Cell, alone, read_cell
from metaweight.comparison.grid import Grid
from metaweight.report.page.progress import Epochs, progress_of
from metaweight.tasks import tasks
from metaweight.tasks.config import RunConfig, config_from, kept_options
from metaweight.tasks.figures import Column, Compared, Result
from metaweight.training.run_folder import RunFolder

State = Literal["finished", "failed", "unfinished", "missing"]


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
    figures: Mapping[str, float | None]
    """Of a finished run; None where one is undefined."""
    epochs: Epochs = ()
    """A row of figures for each epoch that is done."""
    layers: tuple[str, ...] = ()
    attention: tuple[tuple[float, ...], ...] = ()
    """[epochs, L], the teacher's share of attention on each of ``layers``."""
    error: str = ""
    """First line of a failed run's error."""

    @property
    def result(self) -> Result | None:
        """For the table; None for a run that is not finished."""
        if self.state != "finished":
            return None
        return Result(self.arm, self.noise, self.config.seed, self.figures)


@dataclass(frozen=True)
class Study:
    """A run, or all runs of a grid."""

    folder: Path
    title: str
    """The data set, with its origin where the manifest says it."""
    task: str
    runs: tuple[ReadRun, ...]
    manifests: tuple[Mapping[str, Any], ...]
    """The first start's and those of later ones."""
    grid: bool
    notes: tuple[str, ...] = ()
    """What could not be read, in sentences."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of the task's table; the first one is the main figure."""
        columns: tuple[Column, ...] = tasks[self.task].columns
        return columns

    @property
    def main(self) -> Column:
        """The figure that arms are compared by."""
        return self.columns[0]

    @property
    def compared(self) -> Compared:
        """The same figure, as its differences are spoken of."""
        main: Compared = tasks[self.task].compared[0]
        return main

    @property
    def unit(self) -> str:
        """Of the main figure: ``accuracy, %`` -> ``%``, ``BLEU`` -> ``BLEU``."""
        return self.main.heading.rpartition(", ")[2]

    @property
    def results(self) -> list[Result]:
        """Of the finished runs."""
        return [result for run in self.runs if (result := run.result) is not None]

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
    something else, KeyError for a task that is not installed.
    """
    folder = Path(folder)
    about = RunFolder.open(folder).manifest()
    config = about.get("config")
    if not isinstance(config, Mapping) or not {"teacher", "arms", "teachers"} & config.keys():
        raise ValueError(
            f"{folder} holds neither a run nor a grid: its manifest.json names no teacher; "
            "name a folder of metaweight train or metaweight compare"
        )
    read = _read_single if "teacher" in config else _read_grid
    return read(folder, about)


def _read_single(folder: Path, about: Mapping[str, Any]) -> Study:
    task = about.get("task", "image")
    config = config_from(tasks[task].config, about["config"])
    run, notes = _read_run(alone(config, folder.name), folder, {})
    return Study(folder, str(about.get("data", config.data)), task, (run,), (about,), False, tuple(notes))


def _read_grid(folder: Path, about: Mapping[str, Any]) -> Study:
    task = about.get("task", "image")
    own = RunFolder(folder)
    manifests = [about, *(own.manifest(name) for name in own.later_manifests())]
    cells: dict[str, Cell] = {}
    for manifest in manifests:
        for cell in _grid(task, manifest["config"]).cells():
            cells.setdefault(cell.name, cell)
    arms = list(dict.fromkeys(cell.arm for cell in cells.values()))
    noises = list(dict.fromkeys(cell.noise for cell in cells.values()))
    ordered = sorted(cells.values(), key=lambda c: (noises.index(c.noise), arms.index(c.arm), c.config.seed))
    failures = _failures(folder, cells)
    runs, notes = [], []
    for cell in ordered:
        run, said = _read_run(cell, folder / "cells" / cell.name, failures)
        runs.append(run)
        notes += said
    title = str(about.get("data", about["config"]["base"]["data"]))
    return Study(folder, title, task, tuple(runs), tuple(manifests), True, tuple(notes))


def _grid(task: str, config: Mapping[str, Any]) -> Grid:
    return Grid(
        config_from(tasks[task].config, config["base"]),
        tuple(config["arms"] if "arms" in config else config["teachers"]),  # the first grids' word
        tuple(config["noises"]),
        tuple(config["seeds"]),
        *(
            {name: kept_options(own) for name, own in config.get(key, {}).items()}
            for key in ("overrides", "noise_overrides")
        ),
    )


def _failures(folder: Path, names: Mapping[str, Cell]) -> dict[str, str]:
    """Cell -> first line of its error, from failures.txt."""
    path = folder / "failures.txt"
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    return {line: after for line, after in itertools.pairwise(lines) if line in names}


def _read_run(cell: Cell, place: Path, failures: Mapping[str, str]) -> tuple[ReadRun, list[str]]:
    """The run in ``place``, and what is wrong with its files."""
    notes = []
    try:
        kept = read_cell(cell, place)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        kept = None
        notes.append(
            f"result.json of {cell.name} is damaged or half written ({error}); the run counts as not "
            "finished."
        )
    if kept is not None and kept.outcome is not None:
        row, outcome = kept.row(), kept.outcome
        assert row is not None
        return ReadRun(
            *(cell.name, cell.arm, cell.noise, cell.config, place, "finished", row.figures),
            epochs=outcome.history.epochs,
            layers=outcome.layers,
            attention=outcome.attention,
        ), notes
    progress, said = progress_of(place)
    state: State = "unfinished" if place.is_dir() else "missing"
    if cell.name in failures:
        state = "failed"
    return ReadRun(
        *(cell.name, cell.arm, cell.noise, cell.config, place, state, {}),
        epochs=progress.epochs,
        layers=progress.layers,
        attention=progress.attention,
        error=failures.get(cell.name, ""),
    ), notes + said
