"""Centring dL/dw within the batch or within each class, against the sums written out."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from sentence_students import build, sentences
from students import make
from torch import Tensor

import metaweight as mw
from metaweight.engines.centring import steered

CLASSES = torch.tensor([2, 0, 2, 7, 0, 0])
MEMBERS = ([0, 2], [3], [1, 4, 5])


def values(seed: int) -> Tensor:
    return torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_centring_by_class_leaves_the_differences_within_each_class() -> None:
    slopes, weights = values(0), values(1).exp()
    within, pull = torch.zeros_like(slopes), torch.zeros_like(slopes)
    for members in MEMBERS:
        within[members] = slopes[members] - sum(slopes[members]) / len(members)
        pull[members] = sum(weights[members]) / len(members) - 1
    expected = within + 0.7 * within.std(correction=0) * pull
    torch.testing.assert_close(
        steered(slopes, weights, "class", 0.7, CLASSES), expected, rtol=1e-12, atol=1e-15
    )
    alone = steered(slopes, weights, "class", 0.0, CLASSES)[3]
    assert alone == 0  # nothing of its class to compare it with


def test_one_class_is_centred_like_the_batch() -> None:
    slopes, weights = values(2), values(3).exp()
    one = steered(slopes, weights, "class", 0.7, torch.full((6,), 4))
    torch.testing.assert_close(one, steered(slopes, weights, True, 0.7, CLASSES), rtol=1e-12, atol=1e-15)


def test_classes_are_the_given_labels_of_each_train_batch() -> None:
    student, own, train, meta = make("groupnorm-resnet", "momentum")
    batches = [train, dataclasses.replace(train, targets=train.targets.flip(0))]
    weights = [values(i).exp().requires_grad_() for i in range(2)]

    def solve(center: bool | str) -> list[Tensor]:
        queue = iter(weights)
        return list(
            mw.hypergradient(
                student, own, batches, meta, lambda _s: next(queue), weights, "higher", center=center
            ).grads
        )

    plain, centred = solve(False), solve("class")
    assert len(train.targets.unique()) > 1
    for batch, before, after in zip(batches, plain, centred, strict=True):
        for label in batch.targets.unique():
            members = batch.targets == label
            expected = before[members] - before[members].mean()
            torch.testing.assert_close(after[members], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("engine", ["higher", "forward", "double", "reverse", "difference"])
def test_classes_of_tokens_are_their_own_labels(engine: str) -> None:
    student, batch = build("token"), sentences()
    own = torch.optim.SGD(student.module.parameters(), lr=0.1, momentum=0.9)
    weights = torch.linspace(0.2, 1.8, 6, dtype=torch.float64).requires_grad_()

    def solve(center: bool | str) -> Tensor:
        return mw.hypergradient(
            student, own, batch, batch, lambda _s: weights, [weights], engine, center=center
        ).grads[0]

    plain, centred = solve(False), solve("class")
    labels = batch.targets[batch.targets != 0]
    assert labels.tolist() == [5, 3, 4, 6, 3, 3]
    expected = torch.zeros_like(plain)
    expected[labels == 3] = plain[labels == 3] - plain[labels == 3].mean()
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(centred, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "targets", [torch.zeros(6, dtype=torch.float64), torch.zeros(6, 3, dtype=torch.int64)]
)
def test_a_unit_has_one_class(targets: Tensor) -> None:
    got = re.escape(f"got targets {targets.dtype} of shape {tuple(targets.shape)} for 6 units")
    with pytest.raises(ValueError, match=f"center='class' needs the one class label of each unit, {got}"):
        steered(values(0), values(1).exp(), "class", 1.0, targets)


def test_an_unknown_centre_is_refused_before_anything_runs() -> None:
    student, own, train, meta = make("groupnorm-resnet", "momentum")
    with pytest.raises(ValueError, match="center is True, False or 'class', got 'classes'"):
        mw.hypergradient(student, own, train, meta, torch.ones_like, [], center="classes")
    with pytest.raises(ValueError, match="center is True, False or 'class', got 'classes'"):
        mw.Reweighter(
            student, mw.build_teacher("uniform", student.spec(train)), optimizer=own, center="classes"
        )
