"""The two estimators: what they learn, what is left after a fit, and what they refuse."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import nn

import metaweight as mw

QUICK: dict[str, Any] = {
    "epochs": 6,
    "warmup_epochs": 2,
    "batch_size": 64,
    "lr": 1e-2,
    "model_options": {"width": 32, "depth": 1, "dropout": 0.0},
    "random_state": 0,
}
TOWNS = ("Ulm", "Bonn", "Kiel")


def people(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """A frame of numbers, categories and empty cells, and "yes" or "no" that follow from it."""
    rng = np.random.RandomState(seed)
    frame = pd.DataFrame(
        {"age": rng.randn(rows), "size": rng.randn(rows), "town": rng.choice(TOWNS, rows)},
        index=[f"p{i}" for i in range(rows)],
    )
    score = frame["age"] + frame["size"] + (frame["town"] == "Ulm")
    frame.loc[rng.rand(rows) < 0.05, "size"] = np.nan
    return frame, np.where(score > 0.3, "yes", "no")


def spoilt(labels: np.ndarray, share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which a share is turned over, and which."""
    wrong = np.random.RandomState(7).rand(len(labels)) < share
    return np.where(wrong, np.where(labels == "yes", "no", "yes"), labels), wrong


X, RIGHT = people(300, 0)
Y, WRONG = spoilt(RIGHT)
X_META, Y_META = people(60, 1)
X_TEST, Y_TEST = people(300, 2)


@pytest.fixture(scope="module")
def fitted() -> mw.ReweightedClassifier:
    return mw.ReweightedClassifier(**{**QUICK, "epochs": 14}).fit(X, Y, X_meta=X_META, y_meta=Y_META)


def classifier(**options: Any) -> mw.ReweightedClassifier:
    return mw.ReweightedClassifier(**{**QUICK, **options})


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


@pytest.mark.parametrize("apart", [True, False])
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
        weights.append(classifier().fit(X, Y, X_meta=X_META, y_meta=Y_META).sample_weight_)
        assert torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(start).get_state())
    assert np.array_equal(*weights)
    assert np.array_equal(np.random.get_state()[1], before[1])
    other = classifier(random_state=1).fit(X, Y, X_meta=X_META, y_meta=Y_META)
    assert not np.array_equal(other.sample_weight_, weights[0])


@pytest.mark.parametrize(
    "kinds",
    [(False, True), (0, 1), (-1, 1), (1.0, 2.0), ("a", "b")],
    ids=["bool", "int", "signed", "float", "text"],
)
def test_labels_of_every_kind_come_back_as_they_were(kinds: tuple[Any, Any]) -> None:
    def named(labels: np.ndarray) -> np.ndarray:
        return np.where(labels == "yes", kinds[1], kinds[0])

    model = classifier(epochs=3).fit(X, named(Y), X_meta=X_META, y_meta=named(Y_META))
    assert set(model.predict(X_TEST)) == set(kinds)
    assert model.suspects_["given_label"].map(type).nunique() == 1


def test_pandas_labels_are_labels() -> None:
    for dtype in ("category", "string", object):
        model = classifier(epochs=3).fit(X, pd.Series(Y, dtype=dtype), X_meta=X_META, y_meta=list(Y_META))
        assert set(model.predict(X_TEST)) == {"no", "yes"}
    for dtype in ("Int64", "boolean", "Float64"):
        numbers, trusted = (pd.Series(labels == "yes").astype(dtype) for labels in (Y, Y_META))
        model = classifier(epochs=3).fit(X, numbers, X_meta=X_META, y_meta=trusted)
        assert set(model.predict(X_TEST)) == {0, 1}


def test_rare_classes_are_kept() -> None:
    labels = RIGHT.astype(object)
    labels[:3] = "rare"
    meta = np.r_[Y_META[:-2], ["rare"] * 2]
    model = classifier(epochs=3).fit(X, labels, X_meta=X_META, y_meta=meta)
    assert model.predict_proba(X_TEST).shape == (300, 3)


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


def numbers_of(frame: pd.DataFrame) -> np.ndarray:
    return 1000 + 50 * (frame["age"] - (frame["town"] == "Kiel")).to_numpy()


def regressor(**options: Any) -> mw.ReweightedRegressor:
    return mw.ReweightedRegressor(**{**QUICK, "epochs": 20, **options})


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


def labels_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Three labels, of which a row may have several, that follow from ``people``."""
    told = {"old": frame["age"] > 0, "small": frame["size"].fillna(0) < 0.5, "ulm": frame["town"] == "Ulm"}
    return pd.DataFrame(told).astype(int)


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
    assert clone(model).fit(X, given.to_numpy(), meta=np.arange(250, 300)).classes_.tolist() == [0, 1, 2]


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


def test_weights_can_be_handed_to_any_estimator(fitted: mw.ReweightedClassifier) -> None:
    rows = X[["age", "size"]].fillna(0)
    assert LogisticRegression().fit(rows, Y, sample_weight=fitted.sample_weight_).classes_.tolist() == [
        "no",
        "yes",
    ]
