"""Soft labels and several answers: the same as one class where they are one, and by hand beyond."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import NearestNeighbors

from metaweight.core.contracts import StudentState
from metaweight.teachers import build_teacher
from metaweight.teachers.answers import (
    expected_margin,
    several_agreement,
    several_scalars,
    soft_agreement,
    soft_scalars,
)
from metaweight.teachers.inputs import margin_to_best_other
from metaweight.teachers.memory import label_agreement
from metaweight.teachers.sentences import class_scalars
from metaweight.testing.states import class_spec, class_state
from metaweight.testing.target_states import target_spec, target_state, with_targets

DOUBLE = torch.float64


def as_soft(state: StudentState) -> StudentState:
    """The same class labels as distributions."""
    return with_targets("soft", state, F.one_hot(state.targets, state.outputs.shape[1]).double())


def as_one_logit(state: StudentState) -> StudentState:
    """The same two classes by the difference of their logits."""
    return replace(state, outputs=state.outputs[:, 1:] - state.outputs[:, :1], targets=state.targets.double())


def two_classes(units: int = 12, seed: int = 0) -> StudentState:
    return class_state(units, seed=seed, classes=2, dtype=DOUBLE)


def test_a_soft_label_that_is_all_in_one_class_is_read_as_that_class():
    state = class_state(40, dtype=DOUBLE)
    soft = soft_scalars(as_soft(state), DOUBLE)
    torch.testing.assert_close(soft[:, :5], class_scalars(state, DOUBLE), rtol=1e-12, atol=1e-12)
    assert soft[:, 5].tolist() == [0.0] * 40
    q = torch.rand(40, 4, generator=torch.Generator().manual_seed(0), dtype=DOUBLE).softmax(dim=1)
    given = as_soft(state).targets
    torch.testing.assert_close(
        soft_agreement(q, given), label_agreement(q, state.targets), rtol=1e-12, atol=0
    )


def test_one_question_is_read_as_two_classes():
    state = two_classes(40)
    one = as_one_logit(state)
    seen = several_scalars(one, DOUBLE)
    torch.testing.assert_close(seen[:, :5], class_scalars(state, DOUBLE), rtol=1e-9, atol=1e-12)
    q = torch.rand(40, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    votes = torch.stack([1 - q, q], dim=1)
    agreement = several_agreement(q[:, None], one.targets[:, None])
    torch.testing.assert_close(agreement, label_agreement(votes, state.targets), rtol=1e-9, atol=1e-12)


def test_several_answers_by_hand():
    state = replace(
        target_state("several", 1, outputs=2, dtype=DOUBLE),
        outputs=torch.tensor([[3.0, 0.25]], dtype=DOUBLE).log(),  # yes with 0.75 and 0.2
        targets=torch.tensor([[1.0, 1.0]], dtype=DOUBLE),
        loss=torch.tensor([0.9], dtype=DOUBLE),
    )
    seen = several_scalars(state, DOUBLE)[0]
    entropy = -sum(p * np.log(p) + (1 - p) * np.log(1 - p) for p in (0.75, 0.2)) / 2 / np.log(2)
    expected = [1 + np.log(0.75 * 0.2) / 2 / np.log(2), (0.5 - 0.6) / 2, entropy, 0, -0.6, 0.8, 0]
    assert seen[1:].tolist() == pytest.approx(expected, abs=1e-12)


def test_the_margin_of_a_soft_label_is_the_mean_over_its_classes():
    p = torch.rand(50, 4, generator=torch.Generator().manual_seed(0), dtype=DOUBLE).softmax(dim=1)
    given = torch.rand(50, 4, generator=torch.Generator().manual_seed(1), dtype=DOUBLE).softmax(dim=1)
    each = torch.stack([margin_to_best_other(p, torch.full((50,), c)) for c in range(4)], dim=1)
    torch.testing.assert_close(expected_margin(p, given), (given * each).sum(dim=1), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["focal", "class-balanced"])
def test_one_logit_is_weighed_as_two_classes(name):
    two = build_teacher(name, class_spec(classes=2, dtype=DOUBLE))
    one = build_teacher(name, target_spec("several", outputs=1, dtype=DOUBLE))
    for seed in (1, 2):
        two.track(two_classes(30, seed))
        one.track(as_one_logit(two_classes(30, seed)))
    state = two_classes(50)
    state = replace(state, targets=(state.targets * (state.index % 3 == 0)).long())  # a rare class
    torch.testing.assert_close(one(as_one_logit(state)), two(state), rtol=1e-10, atol=0)


def test_focal_weighs_a_soft_label_by_how_far_the_student_is_from_it():
    state = class_state(30, dtype=DOUBLE)
    classes = build_teacher("focal", class_spec(dtype=DOUBLE), gamma=1.5)
    soft = build_teacher("focal", target_spec("soft", outputs=4, dtype=DOUBLE), gamma=1.5)
    torch.testing.assert_close(soft(as_soft(state)), classes(state), rtol=1e-10, atol=0)
    met = with_targets("soft", state, state.outputs.softmax(dim=1))
    paper = build_teacher("focal", target_spec("soft", outputs=4, dtype=DOUBLE), normalize="none")
    assert float(paper(met).max()) < 1e-12


def test_several_answers_are_balanced_by_how_often_each_is_given():
    teacher = build_teacher("class-balanced", target_spec("several", outputs=2, dtype=DOUBLE), beta=1.0)
    given = torch.tensor([[1, 0], [0, 0], [0, 1], [0, 0]], dtype=DOUBLE)
    state = target_state("several", 4, outputs=2, dtype=DOUBLE, targets=given)
    assert teacher(state).tolist() == [1] * 4
    teacher.track(state)
    weights = teacher(state)
    # yes to the first and to the second are given once, no three times each
    expected = torch.tensor([1 + 1 / 3, 2 / 3, 1 / 3 + 1, 2 / 3], dtype=DOUBLE)
    torch.testing.assert_close(weights, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", ["soft", "several"])
def test_knn_takes_what_is_no_stranger_than_nine_in_ten_trusted_rows(kind):
    teacher = build_teacher("knn", target_spec(kind, dtype=DOUBLE), k=5)
    meta, state = (target_state(kind, n, seed=n, dtype=DOUBLE) for n in (60, 40))
    teacher.observe(meta)
    mean = meta.features["deep"].mean(dim=0)
    near = NearestNeighbors(n_neighbors=5, metric="cosine").fit((meta.features["deep"] - mean).numpy())

    def brier(targets: torch.Tensor, rows: np.ndarray) -> np.ndarray:
        return ((targets.numpy() - meta.targets.numpy()[rows].mean(axis=1)) ** 2).sum(axis=1)

    limit = np.quantile(brier(meta.targets, near.kneighbors(return_distance=False)), 0.9)
    own = brier(
        state.targets, near.kneighbors((state.features["deep"] - mean).numpy(), return_distance=False)
    )
    expected = torch.from_numpy(2.0 * (own <= limit))
    assert 0 < float(expected.mean()) < 2
    assert torch.equal(teacher(state), expected)


@pytest.mark.parametrize("kind", ["soft", "several"])
def test_memory_holds_answers_against_those_that_trusted_rows_attended_to_give(kind):
    torch.manual_seed(0)
    teacher = build_teacher("memory", target_spec(kind, dtype=DOUBLE))
    meta, state = (target_state(kind, n, seed=n, dtype=DOUBLE) for n in (60, 8))
    teacher.observe(meta)
    q = teacher.attention(state) @ meta.targets
    agreement = {"soft": soft_agreement, "several": several_agreement}[kind](q, state.targets)
    with torch.no_grad():
        teacher.head.output.weight.normal_(generator=torch.Generator().manual_seed(0))
    expected = teacher.head(torch.cat([teacher.surface(state), agreement], dim=1))
    torch.testing.assert_close(teacher(state), expected, rtol=1e-12, atol=0)
