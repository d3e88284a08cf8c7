"""Losses of soft targets, one logit, several labels, numbers and pixels equal torch's own."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from target_kinds import KINDS, kind_batch, kind_student
from torch import Tensor

import metaweight as mw
from metaweight.student.losses import UnitLoss
from metaweight.student.losses.base import takes_logits


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_is_torchs_own_loss(kind: str) -> None:
    student, batch = kind_student(kind), kind_batch(kind, 6, 1)
    outputs = student.module(*batch.inputs)
    expected = KINDS[kind].torchs(outputs, batch.targets)
    torch.testing.assert_close(student(batch).loss.mean(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "pixels"])
def test_each_unit_is_torchs_own_loss_of_that_row(kind: str) -> None:
    student, batch = kind_student(kind), kind_batch(kind, 6, 1)
    outputs, losses = student.module(*batch.inputs), student(batch).loss
    each = [KINDS[kind].torchs(outputs[i : i + 1], batch.targets[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(losses, torch.stack(each), rtol=1e-12, atol=0)


def test_pixels_by_hand() -> None:
    """Two images of two pixels, one pixel left out: 3 count; uniform logits of 4 classes cost log 4 each."""
    outputs = torch.zeros(2, 4, 1, 2).double()
    targets = torch.tensor([[[1, -100]], [[0, 3]]])
    loss, size = mw.losses.pixel_cross_entropy(outputs, targets)
    four = torch.tensor(4.0).double().log()
    torch.testing.assert_close(loss, torch.stack([four, 2 * four]) * 2 / 3, rtol=1e-12, atol=0)
    assert size.tolist() == [1, 2]
    assert size.dtype == loss.dtype


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("one-logit-flat", (6, 1)), ("number", (6, 1)), ("multi-label", (6, 4)), ("pixels", (6, 3))],
)
def test_a_teacher_sees_outputs_of_two_dimensions(kind: str, shape: tuple[int, ...]) -> None:
    student, batch = kind_student(kind), kind_batch(kind, 6, 1)
    state = student(batch).state()
    assert state.outputs.shape == shape
    assert student.spec(batch).classes == shape[1]
    raw = student.module(*batch.inputs).detach()
    expected = raw.mean((2, 3)) if raw.dim() == 4 else raw.view(shape)
    torch.testing.assert_close(state.outputs, expected)
    assert torch.equal(state.targets, batch.targets)


ONE, TWO, INTS = torch.zeros(3), torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "kind", "message"),
    [
        (mw.losses.soft_cross_entropy, TWO, INTS, TypeError, "class labels have metaweight.losses.cross"),
        (mw.losses.soft_cross_entropy, TWO, ONE, ValueError, "soft targets have the outputs' shape"),
        (mw.losses.squared_error, TWO, ONE, ValueError, r"got outputs and targets \(3, 2\) and \(3, 1\)"),
        (mw.losses.binary_cross_entropy, ONE, ONE - 1, ValueError, r"lie in 0..1, got -1 to -1.*\+ 1\) / 2"),
        (mw.losses.pixel_cross_entropy, TWO, INTS, ValueError, r"pixels have logits \[U, C, H, W\]"),
        (
            mw.losses.pixel_cross_entropy,
            torch.zeros(3, 2, 1, 1),
            torch.full((3, 1, 1), -100),
            ValueError,
            "at least one pixel that counts",
        ),
        (mw.losses.squared_error, (TWO,), TWO, TypeError, "gives tuple where logits"),
        (mw.losses.cross_entropy, TWO, TWO, TypeError, "soft_cross_entropy, binary_cross_entropy, squared"),
    ],
)
def test_what_does_not_fit_is_refused(
    loss: UnitLoss, outputs: Any, targets: Tensor, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        loss(outputs, targets)


def test_our_losses_say_that_they_take_logits() -> None:
    own = [mw.losses.build_loss(name) for name in mw.losses.losses.names()]
    own += [kind.loss for kind in KINDS.values()]
    own += [partial(mw.losses.token_cross_entropy, padding=1), mw.losses.TokenCrossEntropy()]
    assert all(map(takes_logits, own))
    assert not takes_logits(lambda outputs, targets: F.cross_entropy(outputs, targets, reduction="none"))
