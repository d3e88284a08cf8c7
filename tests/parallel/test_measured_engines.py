"""The engine that ``auto`` takes by the clock is one for all processes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from held_against import require_equal
from measured_runs import MEASURED, said_by_two_clocks, short_of_memory, trained_by_two_clocks
from parted_runs import trained
from several_processes import Ranks


@pytest.mark.slow
def test_the_slowest_process_counts(ranks: Ranks) -> None:
    first, second = ranks.run(2, said_by_two_clocks)
    assert first == second
    assert first == "double: 20 ms, forward 25 ms, ghost 30 ms (of 14 rounds)"


def test_the_run_is_that_of_one_process_with_that_engine(ranks: Ranks) -> None:
    alone = trained(0, 1, replace(MEASURED, engine="double", engine_options={}))
    require_equal(ranks.run(2, trained_by_two_clocks), alone)


def test_of_a_sharded_student_there_is_nothing_to_measure(ranks: Ranks) -> None:
    alone = trained(0, 1, replace(MEASURED, engine="ghost", engine_options={}))
    require_equal(ranks.run(2, trained, replace(MEASURED, sharded=True)), alone)


def test_too_little_memory_is_an_error_in_several_processes(ranks: Ranks) -> None:
    assert ranks.run(2, short_of_memory) == ["CUDA out of memory"] * 2
