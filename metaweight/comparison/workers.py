"""The runs of a grid side by side, each in a process of its own."""

from __future__ import annotations

import multiprocessing.connection
import os
import queue
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from metaweight.comparison.cells import Cell, CellResult, Progress, failed, run_cell
from metaweight.core.plugins import import_modules, imported_modules

_messages: Any = None
_device: str | None = None
"""Where this worker's runs are; None: where their own options say."""


def _start_worker(messages: Any, devices: Any, threads: int, modules: Sequence[str]) -> None:
    global _messages, _device
    _messages, _device = messages, devices.get()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import_modules(modules)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """End this process when the one that began it is gone, so that its run is free to go on."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _work(cell: Cell, folder: Path, cost: bool) -> CellResult:
    return _run(cell, folder, _messages.put, cost, _device)


def _run(cell: Cell, folder: Path, tell: Progress, cost: bool, device: str | None) -> CellResult:
    """The cell's run, on ``device`` where one is given; the result is the cell's, wherever it ran."""
    if device is None:
        return run_cell(cell, folder, tell, cost=cost)
    if (place := torch.device(device)).type == "cuda" and place.index is not None:
        torch.cuda.set_device(place)
    there = replace(cell, config=replace(cell.config, device=device))
    return replace(run_cell(there, folder, tell, cost=cost), cell=cell)


def require_jobs(jobs: int) -> None:
    """Raise ValueError for fewer than one."""
    if jobs < 1:
        raise ValueError(f"jobs is a positive number of runs side by side, got {jobs}")


def run_cells(
    cells: Sequence[Cell],
    folder: Path,
    *,
    jobs: int = 1,
    devices: Sequence[str] = (),
    timed: int | None = None,
    progress: Progress | None = None,
) -> list[CellResult]:
    """Run every cell, ``jobs`` at a time with the CPU's threads shared out; results in the cells' order.

    ``devices``: each run takes one that is free, as many at a time as are named; none: the device that its
    own options say.  The cost of an iteration is measured in the cells of the seed ``timed``.  Raises
    ValueError for fewer jobs than one.
    """
    require_jobs(jobs)
    jobs = len(devices) or jobs
    places: Sequence[str | None] = devices or [None] * jobs
    tell = progress or (lambda _cell: None)
    if jobs == 1:
        return [_run(c, folder, tell, c.config.seed == timed, places[0]) for c in cells]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        messages, free = manager.Queue(), manager.Queue()
        for place in places:
            free.put(place)
        initial = (messages, free, threads, imported_modules())
        with ProcessPoolExecutor(jobs, context, _start_worker, initial) as pool:
            futures = [pool.submit(_work, c, folder, c.config.seed == timed) for c in cells]
            try:
                _listen(futures, messages, tell)
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in multiprocessing.active_children():
                    process.terminate()
                raise
            return [_result(future, cell) for future, cell in zip(futures, cells, strict=True)]


def _result(future: Future[CellResult], cell: Cell) -> CellResult:
    try:
        return future.result()
    except BrokenProcessPool as error:  # a worker was killed, by want of memory for instance
        return failed(cell, error)


def _listen(futures: Sequence[Future[CellResult]], messages: Any, tell: Progress) -> None:
    while True:
        finished = all(future.done() for future in futures)
        try:
            while True:
                tell(messages.get(timeout=0 if finished else 0.3))
        except queue.Empty:
            if finished:
                return
