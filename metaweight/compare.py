"""A grid of runs of one task: teachers x kinds of noise x seeds, in processes side by side."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import queue
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from metaweight.config import RunConfig, with_options
from metaweight.contracts import CollapseWarning
from metaweight.progress import CellProgress, TellProgress
from metaweight.report.record import RunFolder, manifest
from metaweight.report.tables import Result
from metaweight.tasks import Finished, Outcome, iteration_cost, run, tasks

Progress = Callable[[CellProgress], None]


@dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    name: str
    config: RunConfig
    noise: str
    """The kind of noise as the table prints it."""


@dataclass(frozen=True)
class Grid:
    """What is compared: every teacher under every kind of noise with every seed."""

    base: RunConfig
    teachers: tuple[str, ...]
    noises: tuple[str, ...]
    """``KIND`` or ``KIND@RATE``: ``uniform@0.4``, ``cluster@0.8``, ``human:worse``."""
    seeds: tuple[int, ...] = (0, 1, 2)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Teacher -> options of its runs that differ from ``base``."""
    noise_overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Kind of noise -> options of its runs; with ``noise`` among them the kind may have any name."""

    def cells(self) -> list[Cell]:
        """All runs, seed by seed; raises ValueError for a kind named twice."""
        if len(set(self.noises)) < len(self.noises) or len(set(self.teachers)) < len(self.teachers):
            raise ValueError("a grid names each teacher and each kind of noise once")
        return [self._cell(t, n, s) for s in self.seeds for n in self.noises for t in self.teachers]

    def _cell(self, teacher: str, noise: str, seed: int) -> Cell:
        kind, at, rate = noise.partition("@")
        try:
            options: dict[str, Any] = {"noise_rate": float(rate)} if at else {}
        except ValueError:
            raise ValueError(f"a kind of noise is KIND or KIND@RATE, got {noise!r}") from None
        config = with_options(self.base, {"teacher": teacher, "noise": kind, "seed": seed} | options)
        config = with_options(config, self.noise_overrides.get(noise, {}))
        config = with_options(config, self.overrides.get(teacher, {}))
        return Cell(f"{noise.replace(':', '-').replace('@', '-')}.{teacher}.{seed}", config, noise)


@dataclass(frozen=True)
class CellResult:
    """A finished or failed cell."""

    cell: Cell
    outcome: Outcome | None
    cost: float | None
    folder: Path
    error: str | None = None
    warnings: tuple[str, ...] = ()

    def row(self) -> Result | None:
        """For the table; None for a failed cell."""
        if self.outcome is None:
            return None
        figures: dict[str, float | None] = {
            name: None if math.isnan(value) else value for name, value in self.outcome.figures.items()
        }
        config = self.cell.config
        return Result(config.teacher, self.cell.noise, config.seed, figures | {"cost": self.cost})

    def finished(self) -> Finished | None:
        """For pictures and notes; None for a failed cell."""
        if self.outcome is None:
            return None
        return Finished(self.cell.config, self.cell.noise, self.outcome, self.folder)


def run_cell(cell: Cell, folder: Path, tell: Progress, *, cost: bool) -> CellResult:
    """One run in its own sub-folder; its error is part of the result, not the end of the grid."""
    place = folder / "cells" / cell.name
    try:
        task = cell.config.task
        own = RunFolder.create(place, {"task": task} | manifest(asdict(cell.config), sys.argv))
        prepared = tasks[task].prepare(cell.config)
        # shown after the table: a line in the middle of the live display would tear it
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", CollapseWarning)
            outcome = run(cell.config, own, prepared=prepared, callbacks=(TellProgress(cell.name, tell),))
        spent = iteration_cost(cell.config, prepared) if cost else None
        messages = tuple(dict.fromkeys(str(warning.message) for warning in said))
        result = CellResult(cell, outcome, spent, place, warnings=messages)
        (place / "result.json").write_text(json.dumps(_content(result, outcome), indent=1))
    except Exception as error:
        return failure(cell, folder, error)
    return result


def _content(result: CellResult, outcome: Outcome) -> dict[str, Any]:
    """Of result.json: the columns' figures, the others under "extra", the epochs, what the task adds."""
    row = result.row()
    assert row is not None
    shown = [column.figure for column in tasks[result.cell.config.task].columns]
    return {
        **{"teacher": row.teacher, "noise": row.noise, "seed": row.seed},
        **{name: row.figures.get(name) for name in shown},
        "extra": {name: value for name, value in row.figures.items() if name not in shown},
        "history": outcome.history.epochs,
        "warnings": result.warnings,
        **outcome.details,
    }


def failure(cell: Cell, folder: Path, error: BaseException) -> CellResult:
    """The result of a cell that ended in ``error``; its first line is type and message."""
    text = f"{type(error).__name__}: {error}\n{''.join(traceback.format_exception(error))}"
    return CellResult(cell, None, None, folder / "cells" / cell.name, text)


_messages: Any = None


def _start_worker(messages: Any, threads: int) -> None:
    global _messages
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(threads)


def _work(cell: Cell, folder: Path, cost: bool) -> CellResult:
    return run_cell(cell, folder, _messages.put, cost=cost)


def run_grid(
    grid: Grid,
    folder: Path,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[CellResult]:
    """Run every cell, ``jobs`` at a time with the CPU's threads shared out; results in the cells' order.

    The cost of an iteration is measured in the cells of the first seed.
    """
    cells = grid.cells()
    timed = grid.seeds[0]
    tell = progress or (lambda _cell: None)
    if jobs == 1:
        return [run_cell(c, folder, tell, cost=c.config.seed == timed) for c in cells]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        messages = manager.Queue()
        with ProcessPoolExecutor(jobs, context, _start_worker, (messages, threads)) as pool:
            futures = [pool.submit(_work, c, folder, c.config.seed == timed) for c in cells]
            try:
                _listen(futures, messages, tell)
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in multiprocessing.active_children():
                    process.terminate()
                raise
            return [_result(future, cell, folder) for future, cell in zip(futures, cells, strict=True)]


def _result(future: Future[CellResult], cell: Cell, folder: Path) -> CellResult:
    try:
        return future.result()
    except BrokenProcessPool as error:  # a worker was killed, by want of memory for instance
        return failure(cell, folder, error)


def _listen(futures: Sequence[Future[CellResult]], messages: Any, tell: Progress) -> None:
    while True:
        finished = all(future.done() for future in futures)
        try:
            while True:
                tell(messages.get(timeout=0 if finished else 0.3))
        except queue.Empty:
            if finished:
                return
