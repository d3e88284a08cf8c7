"""Pieces of work side by side, each in a process of its own."""

from __future__ import annotations

import multiprocessing.connection
import os
import pickle
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

from metaweight.core.plugins import import_modules, imported_modules

Piece = TypeVar("Piece")
T = TypeVar("T")
Heard = Callable[[Any], None]
"""Told how a piece of work goes on; anything that can be pickled."""
Work = Callable[[Piece, Heard, str | None], T]
"""(piece, whom to tell, the place that is free for it) -> its result."""

ENDING = 10.0
"""Seconds that a process has to end once it is told to."""

_messages: Any = None
_place: str | None = None
_work: Any = None


def require_jobs(jobs: int) -> None:
    """Raise ValueError for fewer than one."""
    if jobs < 1:
        raise ValueError(f"jobs is a positive number of runs side by side, got {jobs}")


def threads_each(jobs: int) -> int:
    """The share of each of ``jobs`` processes in the CPU's threads."""
    return max(1, (os.cpu_count() or 1) // jobs)


def side_by_side(
    work: Work[Piece, T],
    pieces: Sequence[Piece],
    *,
    jobs: int,
    lost: Callable[[Piece, BaseException], T],
    tell: Heard,
    places: Sequence[str] = (),
    threads: int | None = None,
) -> list[T]:
    """``work`` on every piece, ``jobs`` at a time; results in the order of the pieces.

    One job works in this process, several each in one that is spawned, with ``threads`` threads (None: its
    share of the CPU's), and that ends with this one.  ``places``: as many at a time as are named, each piece
    is given one that is free.  ``lost``: the result of a piece whose process was killed.  Raises ValueError
    for fewer jobs than one, and where ``work`` cannot be pickled; what a piece raised, once all are done.
    """
    require_jobs(jobs)
    jobs = len(places) or jobs
    free: Sequence[str | None] = places or [None] * jobs
    if jobs == 1:
        return [work(piece, tell, free[0]) for piece in pieces]
    packed = _packed(work)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        messages, waiting = manager.Queue(), manager.Queue()
        for place in free:
            waiting.put(place)
        initial = (messages, waiting, threads or threads_each(jobs), imported_modules(), _numbers(), packed)
        others = set(multiprocessing.active_children())
        with ProcessPoolExecutor(jobs, context, _start_worker, initial) as pool:
            futures = [pool.submit(_do, piece) for piece in pieces]
            try:
                _listen(futures, messages, tell)
            except BaseException:  # Ctrl-C among them: nobody waits for the rest
                pool.shutdown(wait=False, cancel_futures=True)
                mine = set(multiprocessing.active_children()) - others
                for process in mine:
                    process.terminate()
                for process in mine:
                    process.join(ENDING)
                raise
            return [_result(future, piece, lost) for future, piece in zip(futures, pieces, strict=True)]


def _packed(work: Any) -> bytes:
    # as bytes: what is sent to a process by itself shares the memory of its tensors with this one
    try:
        return pickle.dumps(work)
    except Exception as error:  # whatever a user's own part raises
        raise ValueError(
            f"what is to be done cannot be sent to other processes ({type(error).__name__}: {error}): with "
            "jobs=1 it is done in this one"
        ) from error


def _numbers() -> tuple[str, bool]:
    """How this process rounds, beside its number of threads."""
    return torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()


def _start_worker(
    messages: Any,
    places: Any,
    threads: int,
    modules: Sequence[str],
    numbers: tuple[str, bool],
    packed: bytes,
) -> None:
    global _messages, _place, _work
    _messages, _place = messages, places.get()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import_modules(modules)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(threads)
    precision, deterministic = numbers
    torch.set_float32_matmul_precision(precision)
    torch.use_deterministic_algorithms(deterministic)
    _work = pickle.loads(packed)


def _end_with_parent() -> None:
    """End this process when the one that began it is gone, so that its run is free to go on."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _do(piece: Any) -> Any:
    return _work(piece, _messages.put, _place)


def _result(future: Future[T], piece: Piece, lost: Callable[[Piece, BaseException], T]) -> T:
    try:
        return future.result()
    except BrokenProcessPool as error:  # a worker was killed, by want of memory for instance
        return lost(piece, error)


def _listen(futures: Sequence[Future[Any]], messages: Any, tell: Heard) -> None:
    while True:
        finished = all(future.done() for future in futures)
        try:
            while True:
                tell(messages.get(timeout=0 if finished else 0.3))
        except queue.Empty:
            if finished:
                return
