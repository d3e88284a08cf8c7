"""Several processes with a part of each batch come to what one comes to with all of it."""

from __future__ import annotations

import pytest
import torch
from parted_runs import Case, trained
from several_processes import Ranks
from torch import Tensor

EXACT = 1e-12


def require_equal(ranks: Ranks, size: int, case: Case, within: float = EXACT) -> None:
    """All of them alike to the bit, and like one process to ``within`` of the largest number."""
    alone = trained(0, 1, case)
    first, *others = ranks.run(size, trained, case)
    for other in others:
        for name, value in first.items():
            assert torch.equal(value, other[name]), f"{name} drifts apart"
    for name, value in alone.items():
        assert _off(first[name], value) <= within, f"{name} is off by {_off(first[name], value):.1e}"


def _off(here: Tensor, there: Tensor) -> float:
    if not there.is_floating_point():
        return 0.0 if torch.equal(here, there) else 1.0
    return float((here - there).abs().max() / there.abs().max().clamp_min(1e-3))


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("engine", ["forward", "double", "ghost", "higher"])
def test_engines(ranks: Ranks, engine: str, size: int) -> None:
    require_equal(ranks, size, Case(engine=engine))


@pytest.mark.parametrize("engine", ["reverse", "higher"])
@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_three_inner_steps(ranks: Ranks, engine: str, schedule: str) -> None:
    require_equal(ranks, 3, Case(engine=engine, schedule=schedule, unroll=3, steps=17))


def test_differences(ranks: Ranks) -> None:
    require_equal(ranks, 2, Case(engine="difference", steps=10), within=1e-6)


def test_the_implicit_engine(ranks: Ranks) -> None:
    require_equal(ranks, 2, Case(engine="implicit", engine_options={"damping": 20.0}))


@pytest.mark.parametrize(
    "teacher",
    [
        "mw-net",
        "cmw-net",
        "surface",
        "attention",
        "memory",
        "recall",
        "l2rw",
        "knn",
        "evidence",
        "random",
        "self-paced",
        "class-balanced",
        "focal",
        "uniform",
    ],
)
def test_teachers(ranks: Ranks, teacher: str) -> None:
    require_equal(ranks, 3, Case(teacher=teacher))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "two"])
@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_optimizers(ranks: Ranks, optimizer: str, schedule: str) -> None:
    require_equal(ranks, 2, Case(optimizer=optimizer, schedule=schedule))


@pytest.mark.parametrize(
    "options",
    [
        {"every": 3},
        {"center": "class"},
        {"max_norm": 0.5},
        {"scope": ["5"]},
        {"center": False, "anchor": 0.0},
    ],
    ids=str,
)
def test_options(ranks: Ranks, options: dict[str, object]) -> None:
    require_equal(ranks, 2, Case(options=options))
