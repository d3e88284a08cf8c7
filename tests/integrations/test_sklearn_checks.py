"""scikit-learn's own contract for estimators."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

import metaweight as mw

QUICK: dict[str, Any] = {
    "meta_from_train": 0.2,
    "epochs": 4,
    "warmup_epochs": 1,
    "batch_size": 64,
    "lr": 3e-2,
    "model_options": {"width": 32, "depth": 1, "dropout": 0.0},
    "random_state": 0,
}
KINDS = (mw.ReweightedClassifier, mw.ReweightedRegressor)
FOUND = [
    (kind, number, estimator, check)
    for kind in KINDS
    for number, (estimator, check) in enumerate(estimator_checks_generator(kind(**QUICK)))
]
NAMES = {kind: {check.func.__name__ for one, *_, check in FOUND if one is kind} for kind in KINDS}
BOTH = sorted(set.intersection(*NAMES.values()))


def quick(kind: type, number: int, name: str) -> bool:
    """The first of several of a name; two of three checks of both kinds by the regressor, the faster."""
    first = min(n for one, n, _, check in FOUND if one is kind and check.func.__name__ == name)
    return number == first and (name not in BOTH or kind is KINDS[BOTH.index(name) % 3 > 0])


CHECKS = [
    pytest.param(
        estimator,
        check,
        id=f"{kind.__name__}-{check.func.__name__}-{number}",
        marks=() if quick(kind, number, check.func.__name__) else pytest.mark.slow,
    )
    for kind, number, estimator, check in FOUND
]


@pytest.mark.parametrize(("estimator", "check"), CHECKS)
def test_estimator_contract(estimator: object, check: Callable[[object], None]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a check warns where it has nothing to check, and provokes warnings
        check(estimator)
