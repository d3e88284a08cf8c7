"""What is said of the cost of an iteration, and how much is spent to know it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from metaweight.reweighter import Reweighter
from metaweight.tasks import choice_lines, iteration_cost, tasks
from metaweight.tasks.config import ImageConfig

SMALL = ImageConfig(
    train_size=60, batch_size=20, meta_size=20, meta_batch_size=10, model_options={"width": 4}
)
SHORT, LONG = replace(SMALL, epochs=3), replace(SMALL, epochs=20)
"""With ``auto`` the trusted samples are trained on too: four batches an epoch."""
CHOSEN = r"engine auto, lookahead \(forward: .* \(BatchNorm2d\) couples the samples .*\)"


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each iteration that is taken, whether its teacher learns."""
    steps, step = [], Reweighter.step

    def counted(self: Reweighter, *args: Any, **options: Any) -> Any:
        steps.append(self.learns)
        return step(self, *args, **options)

    monkeypatch.setattr(Reweighter, "step", counted)
    return steps


def test_a_short_run_is_told_its_engine_and_not_what_it_costs(taken: list[bool]) -> None:
    line = choice_lines(SHORT, tasks["image"].prepare(SHORT))[-1]
    assert re.fullmatch(CHOSEN, line)
    assert taken == [True]


def test_a_longer_one_is_told_both(taken: list[bool]) -> None:
    line = choice_lines(LONG, tasks["image"].prepare(LONG))[-1]
    cost = re.fullmatch(rf"{CHOSEN}: an iteration takes (\d+\.\d) plain steps", line)
    assert cost is not None
    assert float(cost[1]) > 1
    assert (taken.count(True), taken.count(False)) == (5, 5)


@pytest.mark.parametrize(("config", "rounds"), [(SHORT, 3), (LONG, 8)])
def test_a_grid_measures_the_cost_in_fewer_rounds_where_runs_are_short(
    config: ImageConfig, rounds: int, taken: list[bool]
) -> None:
    assert iteration_cost(config, tasks["image"].prepare(config)) > 1
    assert (taken.count(True), taken.count(False)) == (2 + rounds, 2 + rounds)
