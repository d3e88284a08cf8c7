"""What an arm counts as, by what its parts say of themselves."""

from __future__ import annotations

import pytest

from metaweight.comparison.arms import arm_options, group_of
from metaweight.remedies import remedies
from metaweight.student.losses import losses
from metaweight.teachers.base import registry as teachers

GROUPS = {
    "plain": {"uniform", "cross-entropy"},
    "internal": {"auto", "mlp", "attention", "memory", "jury"},
    "surface": {"surface", "mw-net", "cmw-net", "l2rw", "recall"},
    "bound": {"clean-and-meta"},
}


@pytest.mark.parametrize("name", [*teachers.names(), *remedies.names(), *losses.names()])
def test_every_registered_part_has_its_group(name: str) -> None:
    expected = next((group for group, names in GROUPS.items() if name in names), "remedy")
    if name == "cross-entropy":  # the loss of plain training is no arm of its own
        assert group_of("uniform", {"loss": name}) == "plain"
    else:
        assert group_of(name, arm_options(name, {})) == expected


def test_plain_training_with_options_of_its_own_is_a_remedy() -> None:
    assert group_of("small-batches", {"teacher": "uniform", "batch_size": 10}) == "remedy"
