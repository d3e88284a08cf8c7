"""The classifier: what it learns, and what is left after a fit."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_people import (
    QUICK,
    RIGHT,
    WRONG,
    X_META,
    X_TEST,
    Y_META,
    Y_TEST,
    X,
    Y,
    classifier,
    numbers_of,
    regressor,
)
from slowly import slowly

import metaweight as mw


@pytest.fixture(scope="module")
def fitted() -> mw.ReweightedClassifier:
    return mw.ReweightedClassifier(**{**QUICK, "epochs": 14}).fit(X, Y, X_meta=X_META, y_meta=Y_META)


def test_wrong_labels_get_low_weights_and_do_less_harm(fitted: mw.ReweightedClassifier) -> None:
    assert roc_auc_score(~WRONG, fitted.sample_weight_) > 0.9
    assert fitted.score(X_TEST, Y_TEST) > 0.85
    assert fitted.classes_.tolist() == ["no", "yes"]
    assert fitted.teacher_ in mw.teachers.names()
    assert fitted.engine_ == "ghost"
    told = classifier(epochs=3, teacher="evidence").fit(X, Y, X_meta=X_META, y_meta=Y_META)
    assert told.engine_ == "auto"  # no meta-gradient was taken
    assert fitted.predict_proba(X_TEST).sum(axis=1) == pytest.approx(1)
    assert len(fitted.history_) == 14
    assert fitted.notes_[2:] == ("column 'town': 3 categories", "60 trusted rows were given")


def test_suspects_name_the_rows_of_the_users_table_least_trusted_first(
    fitted: mw.ReweightedClassifier,
) -> None:
    found = fitted.suspects_
    columns = ["row", "index", "given_label", "suggested_label", "share", "mean_weight", "loss", "is_suspect"]
    assert list(found.columns) == columns
    assert sorted(found["row"]) == list(range(300))
    assert (X.index[found["row"]] == found["index"]).all()
    assert (Y[found["row"]] == found["given_label"]).all()
    assert (fitted.sample_weight_[found["row"]] == found["mean_weight"]).all()
    pairs = list(zip(found["mean_weight"], -found["loss"], strict=True))
    assert pairs == sorted(pairs)
    assert found["share"].between(0.5, 1).all()
    first = found.head(50)
    assert WRONG[first["row"]].mean() > 0.8
    assert (first["suggested_label"] == RIGHT[first["row"]]).mean() > 0.8
    marked = found[found["is_suspect"]]
    assert WRONG[marked["row"]].mean() > 0.7
    assert (marked["given_label"] != marked["suggested_label"]).all()
    assert fitted.belief_.verdict == "untested"


def test_equal_weights_leave_the_order_to_the_loss() -> None:
    found = classifier(teacher="uniform").fit(X, Y, X_meta=X_META, y_meta=Y_META).suspects_
    assert set(found["mean_weight"]) == {1.0}
    assert not found["is_suspect"].any()
    assert found["loss"].is_monotonic_decreasing


@pytest.mark.parametrize("apart", [True, *slowly(False)])
def test_probes_say_what_the_weights_are_worth(apart: bool) -> None:
    mask = np.arange(len(X)) % 3 == 0
    labels = np.where(mask, RIGHT, Y)
    model = classifier(probes=0.3, epochs=10)
    if apart:
        model.fit(X[~mask], labels[~mask], X_meta=X[mask], y_meta=labels[mask])
    else:
        model.fit(X, labels, meta=mask)
    found, wrong = model.belief_, WRONG[~mask] if apart else WRONG & ~mask
    assert found.probes in (48, 49, 50)  # half of each class of 100
    assert found.verdict == "believable"
    weights = model.sample_weight_ if apart else model.sample_weight_[~mask]
    assert found.auroc.low <= roc_auc_score(~WRONG[~mask], weights) <= found.auroc.high
    below = model.suspects_[model.suspects_["is_suspect"]]
    assert len(below) == found.below
    assert found.precision.low <= wrong[below["row"]].mean() <= found.precision.high
    assert len(model.suspects_) == (~mask).sum()
    assert f"{found.probes} of the 100 trusted rows are planted" in model.notes_[-1]


def test_what_probes_refuse() -> None:
    with pytest.raises(ValueError, match="probes is a share of the rows of X, from 0 to below 1, got 2"):
        classifier(probes=2).fit(X, Y, X_meta=X_META, y_meta=Y_META)
    with pytest.raises(ValueError, match="nobody has checked those that meta_from_train draws"):
        classifier(probes=0.1, meta_from_train=0.2).fit(X, Y)
    numbers = regressor(probes=0.1, epochs=3).fit(X, numbers_of(X), X_meta=X_META, y_meta=numbers_of(X_META))
    assert numbers.belief_.probes == 30
    assert len(numbers.suspects_) == 300


@pytest.mark.parametrize("as_mask", [True, False])
def test_trusted_rows_of_x_are_not_weighed_and_count_as_one(as_mask: bool) -> None:
    mask = np.arange(len(X)) % 5 == 0
    labels = np.where(mask, RIGHT, Y)
    model = classifier().fit(X, labels, meta=mask if as_mask else np.flatnonzero(mask))
    assert set(model.sample_weight_[mask]) == {1.0}
    assert not mask[model.suspects_["row"]].any()
    assert len(model.suspects_) == (~mask).sum()
    assert roc_auc_score(~WRONG[~mask], model.sample_weight_[~mask]) > 0.7


def test_a_fit_is_repeatable_and_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    weights = []
    for start in (3, 4):
        torch.manual_seed(start)
        weights.append(classifier(epochs=4).fit(X, Y, X_meta=X_META, y_meta=Y_META).sample_weight_)
        assert torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(start).get_state())
    assert np.array_equal(*weights)
    assert np.array_equal(np.random.get_state()[1], before[1])
    other = classifier(random_state=1, epochs=4).fit(X, Y, X_meta=X_META, y_meta=Y_META)
    assert not np.array_equal(other.sample_weight_, weights[0])


@pytest.mark.parametrize(
    ("first", "second"), [(False, True), (-1, 1), *slowly((0, 1), (1.0, 2.0)), ("a", "b")]
)
def test_labels_of_every_kind_come_back_as_they_were(first: Any, second: Any) -> None:
    def named(labels: np.ndarray) -> np.ndarray:
        return np.where(labels == "yes", second, first)

    model = classifier(epochs=3).fit(X, named(Y), X_meta=X_META, y_meta=named(Y_META))
    assert set(model.predict(X_TEST)) == {first, second}
    assert model.suspects_["given_label"].map(type).nunique() == 1


@pytest.mark.parametrize("dtype", ["category", *slowly("string", object)])
def test_pandas_labels_are_labels(dtype: Any) -> None:
    model = classifier(epochs=3).fit(X, pd.Series(Y, dtype=dtype), X_meta=X_META, y_meta=list(Y_META))
    assert set(model.predict(X_TEST)) == {"no", "yes"}


@pytest.mark.parametrize("dtype", ["boolean", *slowly("Int64", "Float64")])
def test_pandas_numbers_are_labels(dtype: str) -> None:
    numbers, trusted = (pd.Series(labels == "yes").astype(dtype) for labels in (Y, Y_META))
    model = classifier(epochs=3).fit(X, numbers, X_meta=X_META, y_meta=trusted)
    assert set(model.predict(X_TEST)) == {0, 1}


def test_rare_classes_are_kept() -> None:
    labels = RIGHT.astype(object)
    labels[:3] = "rare"
    meta = np.r_[Y_META[:-2], ["rare"] * 2]
    model = classifier(epochs=3).fit(X, labels, X_meta=X_META, y_meta=meta)
    assert model.predict_proba(X_TEST).shape == (300, 3)


def test_it_goes_through_pickle_clone_and_set_params(fitted: mw.ReweightedClassifier) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(X_TEST), fitted.predict_proba(X_TEST))
    assert not hasattr(clone(fitted), "classes_")
    assert clone(fitted).set_params(epochs=2, warmup_epochs=1).get_params()["epochs"] == 2


def test_columns_are_checked_by_name(fitted: mw.ReweightedClassifier) -> None:
    assert fitted.feature_names_in_.tolist() == ["age", "size", "town"]
    assert fitted.n_features_in_ == 3
    with pytest.raises(ValueError, match=r"(?s)seen at fit time, yet now missing:\n- age"):
        fitted.predict(X_TEST.drop(columns="age"))
    with pytest.raises(ValueError, match=r"column 'age' held numbers .* now holds 'old' in row 0"):
        fitted.predict(X_TEST.assign(age="old"))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert np.array_equal(fitted.predict(X_TEST.to_numpy()), fitted.predict(X_TEST))


def test_searches_and_pipelines_take_trusted_rows_as_parameters() -> None:
    numbers, meta = X[["age", "size"]].fillna(0), X_META[["age", "size"]].fillna(0)
    trusted = {"X_meta": meta, "y_meta": Y_META}
    scores = cross_val_score(classifier(epochs=3), numbers, Y, params=trusted, cv=2)
    assert scores.shape == (2,)
    search = GridSearchCV(classifier(epochs=3), {"teacher": ["uniform", "memory"]}, cv=2)
    assert search.fit(numbers, Y, **trusted).best_estimator_.n_features_in_ == 2
    with sklearn.config_context(enable_metadata_routing=True):
        routed = classifier(epochs=3).set_fit_request(meta=True)
        mask = np.arange(len(X)) % 4 == 0
        pipe = make_pipeline(StandardScaler(), routed)
        assert cross_val_score(pipe, numbers, Y, params={"meta": mask}, cv=2).shape == (2,)


def test_trusted_rows_that_a_pipeline_leaves_as_they_are_are_refused() -> None:
    numbers, meta = X[["age", "size"]].fillna(0) * 9, X_META[["age", "size"]].fillna(0) * 9
    own = {"reweightedclassifier__X_meta": meta, "reweightedclassifier__y_meta": Y_META}
    pipe = make_pipeline(StandardScaler(), classifier(epochs=3))
    with pytest.raises(ValueError, match=r"X_meta was not\. Name checked rows of X, fit\(X, y, STEP__meta"):
        pipe.fit(numbers, Y, **own)
    mask = np.arange(len(X)) % 4 == 0
    assert pipe.fit(numbers, Y, reweightedclassifier__meta=mask)[-1].suspects_.shape[0] == (~mask).sum()
    with sklearn.config_context(enable_metadata_routing=True):
        routed = classifier(epochs=3).set_fit_request(X_meta=True, y_meta=True)
        both = Pipeline([("scale", StandardScaler()), ("weigh", routed)], transform_input=["X_meta"]).fit(
            numbers, Y, X_meta=meta, y_meta=Y_META
        )
    alone = classifier(epochs=3).fit(
        StandardScaler().fit(numbers).transform(numbers),
        Y,
        X_meta=StandardScaler().fit(numbers).transform(meta),
        y_meta=Y_META,
    )
    assert np.array_equal(both[-1].sample_weight_, alone.sample_weight_)


def test_unchecked_rows_are_trusted_only_when_told_and_then_it_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = classifier(epochs=3, meta_from_train=0.2, verbose=True).fit(X, Y)
    note = "60 of the 300 rows are taken as trusted, and nobody has checked them: meta_from_train=0.2"
    assert model.notes_[-1] == note
    printed = capsys.readouterr().out
    assert note in printed
    assert "column 'town': 3 categories" in printed
    assert "epoch 3/3" in printed
    assert (model.sample_weight_ == 1).sum() >= 60
    assert len(model.suspects_) == 240


def test_weights_can_be_handed_to_any_estimator(fitted: mw.ReweightedClassifier) -> None:
    rows = X[["age", "size"]].fillna(0)
    assert LogisticRegression().fit(rows, Y, sample_weight=fitted.sample_weight_).classes_.tolist() == [
        "no",
        "yes",
    ]
