"""Students in ``fully_shard``: each process holds shards of the parameters, and the run is that of one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sharded_runs
from held_against import EXACT, require_equal, require_near
from parted_runs import LONG, Case, trained
from several_processes import Ranks
from slowly import slowly


def require_run(ranks: Ranks, size: int, case: Case, within: float = EXACT) -> None:
    """All alike, and like one process with the whole parameters."""
    alone = trained(0, 1, replace(case, sharded=False, engine="ghost"))
    require_equal(ranks.run(size, trained, case), alone, within)


@pytest.mark.parametrize(
    ("schedule", "size"),
    [
        *(("lookahead", 1), ("lookahead", 3)),
        *slowly(
            ("lookahead", 2), ("lookahead", 4), ("online", 1), ("online", 2), ("online", 3), ("online", 4)
        ),
    ],
)
def test_the_exact_engine(ranks: Ranks, schedule: str, size: int) -> None:
    steps = LONG if size == 2 else Case.steps
    require_run(ranks, size, Case(schedule=schedule, steps=steps, sharded=True))


@pytest.mark.parametrize("schedule", ["online", *slowly("lookahead")])
def test_differences(ranks: Ranks, schedule: str) -> None:
    require_run(ranks, 2, Case(engine="difference", schedule=schedule, steps=10, sharded=True), within=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["two", *slowly("adam", "adamw")])
def test_optimizers(ranks: Ranks, optimizer: str) -> None:
    require_run(ranks, 2, Case(optimizer=optimizer, sharded=True))


@pytest.mark.parametrize(
    "options", [{"max_norm": 0.5}, *slowly({"scope": ["5"]}, {"every": 3}, {"center": "class"})], ids=str
)
def test_options(ranks: Ranks, options: dict[str, object]) -> None:
    """``online``, as above by differences."""
    require_run(ranks, 2, Case(options=options, schedule="online", steps=8, sharded=True))


@pytest.mark.slow
@pytest.mark.parametrize("teacher", ["memory", *slowly("l2rw", "attention", "uniform")])
def test_teachers(ranks: Ranks, teacher: str) -> None:
    require_run(ranks, 2, Case(teacher=teacher, sharded=True))


@pytest.mark.slow  # in whole students they move in a default test of test_equal_to_one_process
def test_labels_that_move(ranks: Ranks) -> None:
    require_run(ranks, 2, Case(teacher="jury", options={"relabel": True, "max_norm": 0.5}, sharded=True))


@pytest.mark.parametrize("kind", ["pictures", *slowly("translator")])
@pytest.mark.parametrize("size", [2, *slowly(3)])
def test_students(ranks: Ranks, kind: str, size: int) -> None:
    """Tied, frozen and padded parameters, attention, convolutions; more processes than rows of a bias."""
    alone = sharded_runs.trained(0, 1, kind, shard=False)
    first, *_ = ranks.run(size, sharded_runs.trained, kind, True)
    require_near(first, alone)


@pytest.mark.slow
@pytest.mark.parametrize("pieces", [3, 1])
def test_a_loop_of_the_users(ranks: Ranks, pieces: int) -> None:
    alone = sharded_runs.loop_of_the_users(0, 1, False, pieces)
    first, *_ = ranks.run(2, sharded_runs.loop_of_the_users, True, pieces)
    require_near(first, alone)


def test_differences_are_as_near_as_floating_numbers_let_them(ranks: Ranks) -> None:
    assert max(ranks.run(2, sharded_runs.precision)) <= 2e-9


def test_parameters_gathered_in_bfloat16(ranks: Ranks) -> None:
    assert 0 < max(ranks.run(2, sharded_runs.rounded)) < 0.02


def test_a_wrong_gradient_is_caught_at_the_first_batch(ranks: Ranks) -> None:
    for said in ranks.run(2, sharded_runs.wrong):
        assert "Ghost gives" in said
        assert "reverse mode" in said
        assert "suspect" not in said  # what fully_shard puts into the graph is none


def test_what_takes_whole_parameters_is_refused(ranks: Ranks) -> None:
    for said in ranks.run(2, sharded_runs.refusals):
        assert "use engine='ghost', which is exact, or engine='difference'" in said["forward"]
        assert "Adafactor looks at whole parameters" in said["adafactor"]
        assert "take one step (unroll=1)" in said["unroll"]
        assert "'frozen.weight' is in one piece" in said["partly"]
        assert "on a mesh of 2 dimensions" in said["copies"]
        assert "set_requires_gradient_sync(False)" in said["kept"]
