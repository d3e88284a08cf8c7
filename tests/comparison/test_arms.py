"""What a name stands for in a comparison."""

from __future__ import annotations

from itertools import combinations

import pytest

from metaweight.comparison.arms import KINDS, arm_options
from metaweight.comparison.grid import Grid
from metaweight.tasks.config import ImageConfig


def test_no_two_registries_share_a_name() -> None:
    for one, other in combinations(KINDS.values(), 2):
        assert set(one.names()) & set(other.names()) == set()


@pytest.mark.parametrize(
    ("arm", "own", "expected"),
    [
        ("mlp", {}, {"teacher": "mlp"}),
        ("mlp", {"teacher_lr": 0.1}, {"teacher": "mlp", "teacher_lr": 0.1}),
        ("glc", {}, {"teacher": "uniform", "remedy": "glc"}),
        (
            "gce",
            {"loss_options": {"q": 0.3}},
            {"teacher": "uniform", "loss": "gce", "loss_options": {"q": 0.3}},
        ),
        ("mine", {"teacher": "mlp", "every": 2}, {"teacher": "mlp", "every": 2}),
        ("mine", {"remedy": "glc"}, {"teacher": "uniform", "remedy": "glc"}),
        ("mine", {"loss": "gce", "teacher": "mlp"}, {"loss": "gce", "teacher": "mlp"}),
        # a name that is known may stand for something else, if the options say so
        ("mlp", {"teacher": "surface"}, {"teacher": "surface"}),
    ],
)
def test_an_arm_is_what_its_name_says_with_its_own_options(arm: str, own: dict, expected: dict) -> None:
    assert arm_options(arm, own) == expected


def test_an_unknown_arm_has_a_nearest_name_of_any_kind() -> None:
    with pytest.raises(KeyError, match=r"unknown arm 'co-teach'.*Did you mean 'co-teaching'"):
        arm_options("co-teach", {})
    with pytest.raises(KeyError, match="unknown arm 'mine'"):
        arm_options("mine", {"teacher_lr": 0.1})


def test_a_grid_runs_remedies_and_losses_plainly_whatever_teacher_its_other_runs_have() -> None:
    base = ImageConfig(teacher="memory")
    grid = Grid(base, ("mlp", "glc", "gce"), ("uniform@0.4",), (0,), {"gce": {"loss_options": {"q": 0.3}}})
    told = [(c.arm, c.config.teacher, c.config.remedy, c.config.loss) for c in grid.cells()]
    assert told == [
        ("mlp", "mlp", "none", "cross-entropy"),
        ("glc", "uniform", "glc", "cross-entropy"),
        ("gce", "uniform", "none", "gce"),
    ]
    assert grid.cells()[2].config.loss_options == {"q": 0.3}
