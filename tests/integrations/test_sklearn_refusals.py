"""What the classifier refuses, and that the message names it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn_people import (
    X_META,
    Y_META,
    X,
    Y,
    classifier,
)
from torch import nn


@pytest.mark.parametrize(
    ("trusted", "error", "message"),
    [
        (
            {},
            ValueError,
            r"no trusted rows: .* 10 or more of each class do, 20 or more here. Give them: fit\(X, y, X_me",
        ),
        ({"X_meta": X_META}, ValueError, "got X_meta without y_meta"),
        ({"y_meta": Y_META}, ValueError, "got y_meta without X_meta"),
        ({"X_meta": X_META, "y_meta": Y_META, "meta": [0]}, ValueError, "give one of them"),
        ({"X_meta": X_META, "y_meta": Y_META[:5]}, ValueError, "one length, got 60 and 5"),
        (
            {"X_meta": X_META, "y_meta": np.where(Y_META == "no", "non", "yes")},
            ValueError,
            "that y lacks: 'non'; y has",
        ),
        ({"X_meta": X_META, "y_meta": np.repeat("yes", 60)}, ValueError, "no trusted row is of class 'no'"),
        ({"X_meta": X_META, "y_meta": [None, *Y_META[1:]]}, ValueError, "y_meta has no value .* in 1 rows"),
        ({"X_meta": X_META.drop(columns="age"), "y_meta": Y_META}, ValueError, "(?s)yet now missing:\n- age"),
        ({"meta": [0, 300]}, ValueError, r"rows 0 to 299 of X, each once, got \[300\]"),
        ({"meta": [0, 0]}, ValueError, "got some of them twice"),
        ({"meta": [True] * 5}, ValueError, "over the 300 rows of X, got 5 values"),
        ({"meta": np.ones(300, dtype=bool)}, ValueError, "meta names every row of X"),
        ({"meta": np.zeros(300, dtype=bool)}, ValueError, "meta names no row of X.*shuffle its folds"),
        ({"meta": []}, TypeError, "boolean mask over the rows of X, or their positions"),
    ],
)
def test_trusted_rows_that_do_not_do_are_named(trusted: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        classifier().fit(X, Y, **trusted)


def test_labels_of_two_types_are_named() -> None:
    with pytest.raises(TypeError, match=r"labels are of one type, got int and str: write y.astype\(str\)"):
        classifier().fit(X, np.array([1, "a"] * 150, dtype=object), X_meta=X_META, y_meta=Y_META)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.where(np.arange(300) == 4, np.nan, 1.0), r"y has no value or an infinite one in 1 rows.*\[4\]"),
        ([None, *Y[1:]], r"in 1 rows, the first of them \[0\]"),
        (np.repeat("yes", 300), "y has one class, 'yes'"),
        (np.linspace(0, 1, 300), "Unknown label type: continuous"),
        (Y[:10], "got 300 and 10 samples"),
    ],
)
def test_labels_that_do_not_do_are_named(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier().fit(X, y, X_meta=X_META, y_meta=Y_META)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "tabular-mpl"}, KeyError, "Did you mean 'tabular-mlp'"),
        ({"teacher": "memroy"}, KeyError, "Did you mean 'memory'"),
        ({"teacher": "memory", "teacher_options": {"widht": 1}}, TypeError, "Did you mean 'width'"),
        ({"warmup_epochs": 6}, ValueError, "leave none for the teacher"),
        ({"lr": 0.0}, ValueError, "lr is positive"),
        ({"epochs": 2.5}, TypeError, "epochs is a whole number, got 2.5"),
        ({"model": nn.Linear(5, 2)}, TypeError, r"model\(inputs, outputs\) -> torch module.*; got Linear$"),
        ({"model": lambda inputs, outputs: 3, "model_options": None}, TypeError, "got function that gives 3"),
        ({"batch_size": "big"}, ValueError, "a number of rows or 'auto', got 'big'"),
        ({"meta_from_train": 2.0}, ValueError, r"share of the rows in \(0, 1\), got 2.0"),
        ({"final_estimator": KNeighborsClassifier()}, ValueError, "KNeighborsClassifier does not"),
    ],
)
def test_options_that_do_not_do_are_named(options: dict, error: type[Exception], message: str) -> None:
    trusted = {} if "meta_from_train" in options else {"X_meta": X_META, "y_meta": Y_META}
    with pytest.raises(error, match=message):
        classifier(**options).fit(X, Y, **trusted)
