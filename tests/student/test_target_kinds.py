"""What kind of target a student's spec says that its units have."""

from __future__ import annotations

import pytest
import torch
from target_kinds import kind_batch, kind_student
from torch import Tensor, nn

import metaweight as mw

SAYS = {
    "soft": "soft",
    "one-logit": "several",
    "one-logit-flat": "several",
    "multi-label": "several",
    "number": "number",
    "numbers": "number",
    "pixels": "other",
}


@pytest.mark.parametrize(("kind", "target"), SAYS.items())
def test_the_loss_says_what_its_targets_are(kind: str, target: str) -> None:
    spec = kind_student(kind).spec(kind_batch(kind, 6, 1))
    assert spec.target == target
    assert not spec.labels


def absolute(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.flatten(1) - targets.view(len(targets), -1)).abs().mean(dim=1)


def of(loss: object, targets: Tensor) -> str:
    student = mw.Student(nn.Linear(4, 2), loss=loss)
    return student.spec(mw.Batch((torch.randn(5, 4),), targets, torch.arange(5))).target


def test_a_loss_of_ones_own_is_not_guessed_at_but_may_say_so() -> None:
    numbers = torch.randn(5, 2)
    assert of(lambda outputs, targets: absolute(outputs, targets), numbers) == "other"
    say = mw.losses.of_targets("number")
    assert of(say(lambda outputs, targets: absolute(outputs, targets)), numbers) == "number"
    assert of(lambda outputs, targets: outputs.square().mean(dim=1), torch.tensor([0, 1, 1, 0, 1])) == "class"
    with pytest.raises(ValueError, match="got 'numbers'"):
        mw.losses.of_targets("numbers")  # type: ignore[arg-type]


def test_what_teachers_cannot_hold_against_the_outputs_is_of_no_kind() -> None:
    """Numbers for each pixel: a teacher sees the outputs' mean over the image alone."""
    student = mw.Student(nn.Conv2d(1, 2, 1), loss=mw.losses.squared_error)
    batch = mw.Batch((torch.randn(5, 1, 3, 3),), torch.randn(5, 2, 3, 3), torch.arange(5))
    assert student.spec(batch).target == "other"
