"""Numbers, and several labels a row: what is learnt of them and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn_people import (
    X_META,
    X_TEST,
    X,
    Y,
    classifier,
    labels_of,
    numbers_of,
    regressor,
)


def test_numbers_are_learnt_in_their_own_scale() -> None:
    y = numbers_of(X)
    y[:60] = np.random.RandomState(0).permutation(y[:60])
    model = regressor().fit(X, y, X_meta=X_META, y_meta=numbers_of(X_META))
    assert model.score(X_TEST, numbers_of(X_TEST)) > 0.9
    assert model.teacher_ == "evidence"
    given = regressor(epochs=3, teacher="mw-net").fit(X, y, meta=np.arange(200, 300))
    assert 0 < given.sample_weight_.min() < given.sample_weight_.max() < 2
    found = model.suspects_
    assert list(found.columns) == [
        "row",
        "index",
        "given_label",
        "suggested_label",
        "mean_weight",
        "loss",
        "is_suspect",
    ]
    assert (found["given_label"] == y[found["row"]]).all()
    assert model.predict(X.iloc[found["row"]]) == pytest.approx(found["suggested_label"])
    final = regressor(epochs=3, final_estimator=Ridge()).fit(X, y, meta=np.arange(200, 300))
    assert final.predict(X_TEST) == pytest.approx(numbers_of(X_TEST), abs=150)


def test_what_a_regressor_refuses() -> None:
    y, trusted = numbers_of(X), {"X_meta": X_META, "y_meta": numbers_of(X_META)}
    with pytest.raises(
        ValueError, match=r"teacher 'focal' reads class labels.*, and this student's targets are numbers"
    ):
        regressor(teacher="focal").fit(X, y, **trusted)
    with pytest.raises(ValueError, match=r"no trusted rows: .* 50 or more do"):
        regressor().fit(X, y)
    with pytest.raises(ValueError, match="a regressor's y holds numbers"):
        regressor().fit(X, Y, **trusted)
    with pytest.raises(ValueError, match="no value or an infinite one in 1 rows"):
        regressor().fit(X, np.r_[np.inf, y[1:]], **trusted)


@pytest.mark.slow
def test_rows_may_have_several_labels() -> None:
    right, trusted = labels_of(X), {"X_meta": X_META, "y_meta": labels_of(X_META)}
    given = right.copy()
    wrong = np.random.RandomState(7).rand(len(X)) < 0.2
    given.iloc[wrong] = 1 - right.iloc[wrong]
    model = classifier(epochs=14).fit(X, given, **trusted)
    assert model.classes_.tolist() == ["old", "small", "ulm"]
    assert roc_auc_score(~wrong, model.sample_weight_) > 0.9
    said, likely = model.predict(X_TEST), model.predict_proba(X_TEST)
    assert (said == labels_of(X_TEST)).mean(axis=None) > 0.85
    assert ((likely > 0.5) == said).all()
    found = model.suspects_
    assert found["given_label"][0] == tuple(given.columns[given.iloc[found["row"][0]] == 1])
    own = model.predict(X)[found["row"]]
    assert found["suggested_label"].tolist() == [tuple(given.columns[row == 1]) for row in own]
    forest = classifier(epochs=3, final_estimator=RandomForestClassifier(20)).fit(X, given, **trusted)
    assert forest.predict(X_TEST).shape == forest.predict_proba(X_TEST).shape == (300, 3)
    short = clone(model).set_params(epochs=3)
    assert short.fit(X, given.to_numpy(), meta=np.arange(250, 300)).classes_.tolist() == [0, 1, 2]


def test_what_several_labels_cannot_be() -> None:
    given, trusted = labels_of(X).to_numpy(), labels_of(X_META).to_numpy()
    odd = given.copy()
    odd[3, 1] = 2
    with pytest.raises(ValueError, match=r"are 0 or 1, y has 2 in row 3, column 1 \(1 such cells in all\)"):
        classifier().fit(X, odd, X_meta=X_META, y_meta=trusted)
    with pytest.raises(ValueError, match="are 0 or 1, y has others"):
        classifier().fit(X, np.where(given, "yes", "no"), X_meta=X_META, y_meta=trusted)
    with pytest.raises(ValueError, match=r"y has 3 labels, a column each, y_meta is of shape \(60, 2\)"):
        classifier().fit(X, given, X_meta=X_META, y_meta=trusted[:, :2])
    with pytest.raises(ValueError, match="no trusted row has label 2, and such rows"):
        classifier().fit(X, given, X_meta=X_META, y_meta=trusted * [1, 1, 0])
    with pytest.raises(ValueError, match=r"no trusted rows: .* with each label do, and as many without"):
        classifier().fit(X, given)
