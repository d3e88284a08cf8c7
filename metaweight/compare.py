"""A grid of runs of one task: teachers x kinds of noise x seeds, in processes side by side."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from metaweight.arms import BASE, arm_options
from metaweight.cells import Cell, CellResult, Progress, failure, run_cell
from metaweight.config import RunConfig, with_options

NOT_AN_ARMS = ("seed", "noise", "noise_rate", "data", "data_dir")
"""Options that an arm may not have for itself: they decide what it is compared on."""


@dataclass(frozen=True)
class Grid:
    """What is compared: every arm (a teacher, a remedy, a loss) under every kind of noise with every seed."""

    base: RunConfig
    teachers: tuple[str, ...]
    noises: tuple[str, ...]
    """``KIND`` or ``KIND@RATE``: ``uniform@0.4``, ``cluster@0.8``, ``human:worse``."""
    seeds: tuple[int, ...] = (0, 1, 2)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Arm -> options of its runs that differ from ``base``, see ``arm_options``."""
    noise_overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Kind of noise -> options of its runs; with ``noise`` among them the kind may have any name."""
    chosen: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Kind of noise -> teacher -> options chosen on the validation set; they go over all others."""

    def cells(self) -> list[Cell]:
        """All runs, seed by seed.

        Raises ValueError for a list that is empty or names something twice, two runs of one name, a name
        that is no folder's, options that would take the seed, the noise or the data from under the grid, and
        a remedy or a loss for every run, where it would be an arm.
        """
        self._check()
        if len(set(self.noises)) < len(self.noises) or len(set(self.teachers)) < len(self.teachers):
            raise ValueError("a grid names each teacher and each kind of noise once")
        cells = [self.cell(t, n, s) for s in self.seeds for n in self.noises for t in self.teachers]
        named: dict[str, Cell] = {}
        for cell in cells:
            if "/" in cell.name or "\\" in cell.name:
                raise ValueError(f"a run's folder is named {cell.name!r}: name arm and noise without a slash")
            other = named.setdefault(cell.name, cell)
            if other is not cell:
                one, two = (f"{c.arm} under {c.noise} with seed {c.config.seed}" for c in (other, cell))
                raise ValueError(f"two runs would share the folder {cell.name}: {one}, and {two}")
        return cells

    def _check(self) -> None:
        for what, listed in (("arms", self.teachers), ("kinds of noise", self.noises), ("seeds", self.seeds)):
            if not listed:
                raise ValueError(f"a grid has no {what}: name at least one")
        for option in ("remedy", "loss"):
            given = getattr(self.base, option, BASE[option])
            if given != BASE[option]:
                raise ValueError(
                    f"{option} {given!r} for every run would leave no plain training to compare with: "
                    "name it among the arms"
                )
        for arm, own in self.overrides.items():
            for option in NOT_AN_ARMS:
                if option in own:
                    raise ValueError(f"{option} of arm {arm} decides what it is compared on: leave it out")
        for noise, own in self.noise_overrides.items():
            if "seed" in own:
                raise ValueError(f"seed of noise {noise} is the grid's to say: leave it out")
            if "@" in noise and own.keys() & {"noise", "noise_rate"}:
                raise ValueError(f"noise {noise} says its rate in its name: leave noise and noise_rate out")

    def cell(self, teacher: str, noise: str, seed: int) -> Cell:
        """One run."""
        kind, at, rate = noise.partition("@")
        try:
            options: dict[str, Any] = {"noise_rate": float(rate)} if at else {}
        except ValueError:
            raise ValueError(f"a kind of noise is KIND or KIND@RATE, got {noise!r}") from None
        config = with_options(self.base, {"noise": kind, "seed": seed} | options)
        config = with_options(config, self.noise_overrides.get(noise, {}))
        config = with_options(config, arm_options(teacher, self.overrides.get(teacher, {})))
        config = with_options(config, self.chosen.get(noise, {}).get(teacher, {}))
        name = f"{noise.replace(':', '-').replace('@', '-')}.{teacher}.{seed}"
        return Cell(name, config, noise, teacher)


_messages: Any = None


def _start_worker(messages: Any, threads: int) -> None:
    global _messages
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(threads)


def _work(cell: Cell, folder: Path, cost: bool) -> CellResult:
    return run_cell(cell, folder, _messages.put, cost=cost)


def require_jobs(jobs: int) -> None:
    """Raise ValueError for fewer than one."""
    if jobs < 1:
        raise ValueError(f"jobs is a positive number of runs side by side, got {jobs}")


def run_cells(
    cells: Sequence[Cell],
    folder: Path,
    *,
    jobs: int = 1,
    timed: int | None = None,
    progress: Progress | None = None,
) -> list[CellResult]:
    """Run every cell, ``jobs`` at a time with the CPU's threads shared out; results in the cells' order.

    The cost of an iteration is measured in the cells of the seed ``timed``.  Raises ValueError for fewer jobs
    than one.
    """
    require_jobs(jobs)
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
