"""Pieces of work in processes: their order, what is heard of them, what becomes of those that are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from metaweight.core.jobs import side_by_side, threads_each


def square(piece: int, tell: Callable[[Any], None], place: str | None) -> tuple[int, str | None]:
    if piece < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    tell(piece)
    return piece**2, place


def lost(piece: int, error: BaseException) -> tuple[int, str | None]:
    return piece, type(error).__name__


def test_one_job_works_here_in_order() -> None:
    heard: list[int] = []
    assert side_by_side(square, [3, 1, 2], jobs=1, lost=lost, tell=heard.append) == [
        (9, None),
        (1, None),
        (4, None),
    ]
    assert heard == [3, 1, 2]
    assert side_by_side(square, [3], jobs=2, places=["cpu"], lost=lost, tell=heard.append) == [(9, "cpu")]


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="jobs is a positive number"):
        side_by_side(square, [1], jobs=0, lost=lost, tell=print)
    with pytest.raises(ValueError, match="with jobs=1 it is done in this one"):
        side_by_side(lambda piece, tell, place: piece, [1], jobs=2, lost=lost, tell=print)


def test_threads_are_shared_out() -> None:
    assert threads_each(1) == os.cpu_count()
    assert threads_each(10**6) == 1


@pytest.mark.slow
def test_two_jobs_work_in_the_order_of_the_pieces() -> None:
    heard: list[int] = []
    found = side_by_side(square, [3, 1, 2], jobs=2, places=["a", "b"], lost=lost, tell=heard.append)
    assert [value for value, _ in found] == [9, 1, 4]
    assert {place for _, place in found} <= {"a", "b"}
    assert sorted(heard) == [1, 2, 3]


@pytest.mark.slow
def test_a_killed_process_is_lost_and_said() -> None:
    assert side_by_side(square, [-1], jobs=2, lost=lost, tell=print) == [(-1, "BrokenProcessPool")]


@pytest.mark.slow
def test_who_hears_may_end_it_all() -> None:
    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt):
        side_by_side(square, [1, 2, 3], jobs=2, lost=lost, tell=stop)
    left = set(multiprocessing.active_children()) - before
    assert not any(process.is_alive() for process in left)
