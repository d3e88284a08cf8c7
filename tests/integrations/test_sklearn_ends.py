"""What estimators are made of and what goes on from them: modules and final estimators of one's own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import LinearSVC
from sklearn_people import (
    X_META,
    X_TEST,
    Y_META,
    Y_TEST,
    X,
    Y,
    classifier,
)
from torch import nn


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps what it is fitted on."""

    def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Recorder:
        self.classes_, self.given_ = np.unique(y), (X, y, sample_weight)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.repeat("yes", len(X))


def test_a_final_estimator_gets_the_learnt_weights_and_predicts() -> None:
    final = Recorder()
    model = classifier(epochs=3, final_estimator=final).fit(X, Y, X_meta=X_META, y_meta=Y_META)
    assert not hasattr(final, "given_")
    rows, labels, weights = model.final_estimator_.given_
    assert rows.shape == (360, model.encoder_.width + 5)
    assert labels.tolist() == [*Y, *Y_META]
    assert np.array_equal(weights, np.r_[model.sample_weight_, np.ones(60)])
    assert set(model.predict(X_TEST)) == {"yes"}
    assert not hasattr(model, "predict_proba")
    assert not hasattr(classifier(final_estimator=LinearSVC()), "predict_proba")


@pytest.mark.slow
def test_a_forest_on_the_learnt_weights() -> None:
    forest = RandomForestClassifier(30, min_samples_leaf=3)
    model = classifier(epochs=10, final_estimator=forest).fit(X, Y, X_meta=X_META, y_meta=Y_META)
    rows, test = (model.encoder_.one_hot(model.encoder_.transform(frame)) for frame in (X, X_TEST))
    plain = clone(forest).set_params(random_state=0).fit(rows, Y)
    assert model.score(X_TEST, Y_TEST) > plain.score(test, Y_TEST) + 0.05
    again = classifier(epochs=10, final_estimator=forest).fit(X, Y, X_meta=X_META, y_meta=Y_META)
    assert np.array_equal(model.predict_proba(X_TEST), again.predict_proba(X_TEST))


def test_a_module_of_ones_own_gets_one_row_of_numbers() -> None:
    def net(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, outputs))

    model = classifier(model=net, model_options=None).fit(X, Y, X_meta=X_META, y_meta=Y_META)
    assert model.teacher_ == "recall"
    assert model.module_[0].in_features == model.encoder_.width + 5
    assert model.score(X_TEST, Y_TEST) > 0.7
    tapped = classifier(model=net, model_options=None, taps=("1",), epochs=3, teacher="memory")
    assert tapped.fit(X, Y, X_meta=X_META, y_meta=Y_META).teacher_ == "memory"
