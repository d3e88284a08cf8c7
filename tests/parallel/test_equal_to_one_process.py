"""Several processes with a part of each batch come to what one comes to with all of it."""

from __future__ import annotations

import pytest
from held_against import EXACT, require_equal
from parted_runs import LONG, Case, trained
from several_processes import Ranks
from slowly import slowly


def require_run(ranks: Ranks, size: int, case: Case, within: float = EXACT) -> None:
    """All alike, and like one process with all of each batch."""
    require_equal(ranks.run(size, trained, case), trained(0, 1, case), within)


@pytest.mark.parametrize(
    ("engine", "size"),
    [
        *(("ghost", 3), ("double", 3)),
        *slowly(("ghost", 2), ("ghost", 4), ("double", 2), ("double", 4)),
        *slowly(("higher", 2), ("higher", 3), ("higher", 4)),
        *slowly(*(("forward", size) for size in (2, 3, 4))),
    ],
)
def test_engines(ranks: Ranks, engine: str, size: int) -> None:
    require_run(ranks, size, Case(engine=engine, steps=LONG if size == 2 else Case.steps))


@pytest.mark.parametrize("engine", ["reverse", *slowly("higher")])
@pytest.mark.parametrize("schedule", ["lookahead", *slowly("online")])
def test_three_inner_steps(ranks: Ranks, engine: str, schedule: str) -> None:
    require_run(ranks, 2, Case(engine=engine, schedule=schedule, unroll=3, steps=6))


def test_differences(ranks: Ranks) -> None:
    require_run(ranks, 2, Case(engine="difference", steps=10), within=1e-6)


def test_the_implicit_engine(ranks: Ranks) -> None:
    require_run(ranks, 2, Case(engine="implicit", engine_options={"damping": 20.0}))


@pytest.mark.parametrize(
    "teacher",
    [
        *("mw-net", "jury"),
        *slowly("attention", "memory", "l2rw", "cmw-net", "surface", "recall", "knn", "evidence", "random"),
        *slowly("self-paced", "class-balanced", "focal", "uniform"),
    ],
)
def test_teachers(ranks: Ranks, teacher: str) -> None:
    require_run(ranks, 3, Case(teacher=teacher))


@pytest.mark.parametrize("optimizer", ["two", *slowly("adam", "adamw")])
@pytest.mark.parametrize("schedule", ["online", *slowly("lookahead")])
def test_optimizers(ranks: Ranks, optimizer: str, schedule: str) -> None:
    require_run(ranks, 2, Case(optimizer=optimizer, schedule=schedule))


@pytest.mark.parametrize(
    "options",
    [
        {"center": "class"},
        {"max_norm": 0.5},
        *slowly({"every": 3}, {"scope": ["5"]}, {"center": False, "anchor": 0.0}),
    ],
    ids=str,
)
def test_options(ranks: Ranks, options: dict[str, object]) -> None:
    require_run(ranks, 2, Case(options=options))


@pytest.mark.parametrize("engine", ["ghost", *slowly("double")])
@pytest.mark.parametrize("schedule", ["lookahead", *slowly("online")])
def test_labels_that_move(ranks: Ranks, engine: str, schedule: str) -> None:
    case = Case(engine=engine, teacher="jury", schedule=schedule, options={"relabel": True, "max_norm": 0.5})
    require_run(ranks, 2, case)
