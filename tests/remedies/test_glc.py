"""Gold loss correction: the estimated matrix against the true one, and what the second student gets."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from metaweight.data.noise import transition_matrix
from metaweight.remedies import Course
from metaweight.remedies.glc import GoldLossCorrection, MarkedLoss, estimated_matrix
from metaweight.student.losses import ForwardCorrection, cross_entropy
from metaweight.tasks import tasks
from metaweight.tasks.config import ImageConfig

DOUBLE = torch.float64
T = torch.tensor([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.25, 0.25, 0.5]], dtype=DOUBLE)


def test_rows_are_means_over_the_samples_of_a_class() -> None:
    says = torch.tensor([[0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.4, 0.6, 0.0]], dtype=DOUBLE)
    found = estimated_matrix(says, torch.tensor([0, 1, 0]))
    expected = torch.tensor([[0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]], dtype=DOUBLE)
    assert torch.allclose(found, expected, rtol=1e-14)


def test_on_separable_data_the_estimate_is_the_matrix() -> None:
    """A linear student at its optimum says for each class how often each label was given to it."""
    clean = torch.arange(3).repeat_interleave(20)
    given = torch.cat([torch.arange(3).repeat_interleave((20 * row).round().long()) for row in T])
    assert torch.allclose(transition_matrix(clean, given, 3), T)
    torch.manual_seed(0)
    inputs = torch.eye(3, dtype=DOUBLE)[clean]
    student = nn.Linear(3, 3, dtype=DOUBLE)
    optimizer = torch.optim.LBFGS(
        student.parameters(),
        max_iter=500,
        tolerance_grad=1e-13,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = cross_entropy(student(inputs), given).mean()
        value.backward()
        return value

    optimizer.step(loss)
    trusted = torch.tensor([2, 0, 1, 1])
    says = student(torch.eye(3, dtype=DOUBLE)[trusted]).softmax(dim=-1).detach()
    assert (estimated_matrix(says, trusted) - T).abs().max() < 1e-9


def test_a_trusted_label_has_cross_entropy_and_another_the_corrected_loss() -> None:
    logits = torch.tensor([3.0, 2.0, 1.0], dtype=DOUBLE).log().expand(3, 3)
    targets = torch.tensor([[0, 1], [0, 0], [2, 0]])
    loss = MarkedLoss(ForwardCorrection(T))(logits, targets)
    given_0 = 0.7 / 2 + 0.05 / 3 + 0.25 / 6
    given_2 = 0.1 / 2 + 0.05 / 3 + 0.5 / 6
    expected = [math.log(2), -math.log(given_0), -math.log(given_2)]
    assert loss.tolist() == pytest.approx(expected, rel=1e-14)
    plain = torch.tensor([0, 1, 2])
    assert torch.equal(MarkedLoss(ForwardCorrection(T))(logits, plain), cross_entropy(logits, plain))


def test_the_second_student_has_both_sets_and_the_estimate(
    digits: ImageConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = tasks["image"].prepare(digits)
    course = Course(digits, prepared)
    truth = 0.7 * torch.eye(10, dtype=DOUBLE) + 0.03
    right = prepared.images.train_labels

    def says(_course: Course, _student: object, positions: Tensor) -> Tensor:
        return truth[right[positions]]

    monkeypatch.setattr(Course, "probabilities", says)
    stage = GoldLossCorrection().last(course)
    assert stage.reweighter is not None
    assert stage.source is not None
    loss = stage.reweighter.student.loss
    assert isinstance(loss, MarkedLoss)
    assert torch.allclose(loss.correction.transition, truth, rtol=1e-12)
    seen, trusted = set(course.pool.train.tolist()), set(course.pool.meta.tolist())
    assert len(stage.source) == 4
    found: set[int] = set()
    for position in range(4):
        batch = stage.source.batch(0, position)
        for index, (label, mark) in zip(batch.index.tolist(), batch.targets.tolist(), strict=True):
            assert (mark == 1) == (index in trusted)
            assert label == int(prepared.labels[index])
            found.add(index)
    assert found == seen | trusted
    assert stage.config == replace(digits, remedy="none")
