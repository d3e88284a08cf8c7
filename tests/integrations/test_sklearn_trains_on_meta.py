"""Estimators that train on the trusted rows too: which do, on what, and what stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import metaweight as mw
from metaweight.core.contracts import StudentState
from metaweight.teachers.base import Teacher, registry

QUICK: dict[str, Any] = {
    "epochs": 2,
    "warmup_epochs": 0,
    "batch_size": 16,
    "model_options": {"width": 8, "depth": 1, "dropout": 0.0},
    "random_state": 0,
}
RNG = np.random.RandomState(0)
X, X_META = RNG.randn(80, 3), RNG.randn(20, 3)
Y, Y_META = (X.sum(axis=1) > 0).astype(int), (X_META.sum(axis=1) > 0).astype(int)
SEEN: list[int] = []


class Watching(Teacher):
    """Weighs all alike, and notes which samples it was shown in training."""

    sees, learns = "nothing", False

    def __init__(self, spec: mw.StateSpec) -> None:
        super().__init__()
        SEEN.append(-1 if spec.meta_in_train else -2)

    def forward(self, state: StudentState) -> torch.Tensor:
        return torch.ones_like(state.loss)

    def track(self, state: StudentState) -> None:
        SEEN.extend(state.index.tolist())


@pytest.fixture(autouse=True)
def watching() -> Iterator[None]:
    SEEN.clear()
    with registry.temporarily("watching", Watching):
        yield


@pytest.mark.parametrize(("asked", "trusted"), [(None, False), (True, True), (False, False)])
def test_rows_given_apart_have_the_indices_behind_those_of_x(asked: bool | None, trusted: bool) -> None:
    estimator = mw.ReweightedClassifier(teacher="watching", train_on_meta=asked, **QUICK)
    estimator.fit(X, Y, X_meta=X_META, y_meta=Y_META)
    mark, *seen = SEEN
    assert mark == (-1 if trusted else -2)
    assert sorted(set(seen)) == list(range(100 if trusted else 80))
    assert len(estimator.sample_weight_) == 80


def test_named_rows_of_x_are_themselves_and_count_as_one_after_the_fit() -> None:
    meta = np.arange(80) % 4 == 0
    estimator = mw.ReweightedClassifier(teacher="watching", train_on_meta=True, **QUICK).fit(X, Y, meta=meta)
    assert sorted(set(SEEN[1:])) == list(range(80))
    assert np.array_equal(estimator.sample_weight_[meta], np.ones(20))
    assert len(estimator.suspects_) == 60


def test_auto_does_by_itself_and_a_teacher_that_is_named_does_not() -> None:
    def fitted(**options: Any) -> np.ndarray:
        estimator = mw.ReweightedClassifier(**{**QUICK, **options})
        return estimator.fit(X, Y, X_meta=X_META, y_meta=Y_META).predict_proba(X)

    own = fitted()
    assert np.array_equal(own, fitted(train_on_meta=True))
    assert not np.array_equal(own, fitted(train_on_meta=False))
    named = fitted(teacher="evidence")
    assert np.array_equal(named, fitted(teacher="evidence", train_on_meta=False))
