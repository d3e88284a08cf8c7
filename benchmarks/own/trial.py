"""One set under one seed: plain training, a teacher, and a rule without one, on the same wrong targets."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict

import metaweight as mw
from benchmarks.own.sets import LABEL, Case
from benchmarks.own.tokens import each_token
from metaweight.core.csv_text import read_csv
from metaweight.core.weights import auroc
from metaweight.data.tabular import TableEncoder
from metaweight.models import build_model, default_taps
from metaweight.report.suspects import Suspects
from metaweight.tasks.tokens.results import TOKENS

MODEL = {"tabular": "tabular-mlp", "number": "tabular-mlp", "text": "text-bag", "tokens": "tagger-window"}
FOLDS = {"tabular": 5, "number": 5, "text": 3, "image": 3, "tokens": 3}
TREES = 200


@dataclass(frozen=True)
class Trial:
    """What one arm reached."""

    data: str
    kind: str
    arm: str
    seed: int
    rows: int
    wrong: float
    """Share of wrong training rows, or of their tokens."""
    accuracy: float | None
    """Of test rows with right labels, in percent."""
    r2: float | None
    """Of test rows with right numbers."""
    rmse: float | None
    """The root of their mean squared error, in their unit."""
    f1: float | None
    """Of the tokens of test sentences that are something, in percent."""
    auroc: float | None
    """Of the weights, or of the reference's scores, for finding the wrong rows, or tokens."""
    verdict: str
    """What the probes say; empty without."""
    seconds: float


def fitted(case: Case, teacher: str, seed: int, train: Any, *, probes: float, folder: Path) -> mw.Fit:
    """A run of ``mw.fit`` on the rows ``train``."""
    options: dict[str, Any] = {"teacher": teacher, "seed": seed, "probes": probes, "folder": folder}
    if case.kind == "image":
        torch.manual_seed(seed)
        channels, size = case.rows.shape[1:3]
        module = build_model("convnet", classes=10, channels=channels, size=size)
        parts = (train, case.meta, case.test)
        labels = (case.given, case.right, case.right)
        pairs = [(case.rows[at], own[at]) for at, own in zip(parts, labels, strict=True)]
        return mw.fit(module, *pairs, taps=default_taps("convnet"), epochs=30, warmup_epochs=3, **options)
    written = {"number": float, "tokens": object}.get(case.kind, str)
    frames = [
        case.rows.iloc[at].assign(**{LABEL: own[at].astype(written)})
        for at, own in ((train, case.given), (case.meta, case.right), (case.test, case.right))
    ]
    return mw.fit(MODEL[case.kind], *frames, label=LABEL, **options)


def own_trial(case: Case, arm: str, seed: int, probes: float) -> Trial:
    """``uniform``, which is plain training, or a teacher."""
    with tempfile.TemporaryDirectory() as scratch:
        planted = probes if arm != "uniform" else 0.0
        result = fitted(case, arm, seed, case.train, probes=planted, folder=Path(scratch) / "run")
        found = Suspects(result.samples).belief
        area = auroc(_weights(case, result), torch.tensor(case.wrong)) if arm != "uniform" else None
    return Trial(
        *(case.name, case.kind, arm, seed, len(case.train), float(case.wrong.mean())),
        *(result.figures.get(figure) for figure in ("accuracy", "r2", "rmse", "f1")),
        *(area, found.verdict if found and planted else ""),
        float(result.figures["seconds"] or 0),
    )


def _weights(case: Case, result: mw.Fit) -> torch.Tensor:
    """[n], of the training rows, or of their tokens."""
    if case.kind == "tokens":
        return torch.tensor([float(row["weight"]) for row in read_csv(result.folder / TOKENS)])
    return torch.tensor(result.weights)


def reference(case: Case, seed: int) -> Trial:
    """How well the wrong rows are found without a teacher, and without trusted rows.

    cleanlab's label quality by a cross-validated forest (tables), or the task's own model; of numbers the
    residuals of a cross-validated forest.
    """
    began = time.perf_counter()
    arm, scores = ("forest", _residuals(case, seed)) if case.kind == "number" else quality(case, seed)
    area = auroc(torch.tensor(scores), torch.tensor(case.wrong))
    about = (case.name, case.kind, arm, seed, len(case.train), float(case.wrong.mean()))
    return Trial(*about, None, None, None, None, area, "", time.perf_counter() - began)


def _residuals(case: Case, seed: int) -> Any:
    """The magnitudes of the residuals [n], negative: low where a row looks wrong."""
    folds = KFold(FOLDS["number"], shuffle=True, random_state=seed)
    forest = RandomForestRegressor(n_estimators=TREES, random_state=seed)
    given = case.given[case.train]
    return -np.abs(cross_val_predict(forest, _one_hot(case), given, cv=folds) - given)


def quality(case: Case, seed: int) -> tuple[str, Any]:
    """The arm's name, and cleanlab's score of each label [n]."""
    from cleanlab.rank import get_label_quality_scores

    given = case.given[case.train]
    classes, codes = np.unique(each_token(given) if case.kind == "tokens" else given, return_inverse=True)
    if case.kind == "tokens":
        return "cleanlab", get_label_quality_scores(codes, _of_tokens(case, classes, seed))
    folds = StratifiedKFold(FOLDS[case.kind], shuffle=True, random_state=seed)
    if case.kind == "tabular":
        forest = RandomForestClassifier(n_estimators=TREES, random_state=seed)
        says = cross_val_predict(forest, _one_hot(case), codes, cv=folds, method="predict_proba")
    else:
        says = _own_probabilities(case, codes, folds, seed, len(classes))
    return "cleanlab", get_label_quality_scores(codes, says)


def _one_hot(case: Case) -> Any:
    """The training rows as numbers [n, columns]."""
    rows = case.rows.iloc[case.train].reset_index(drop=True)
    encoder = TableEncoder().fit(rows)
    return encoder.one_hot(encoder.transform(rows)).numpy()


def _own_probabilities(case: Case, codes: Any, folds: Any, seed: int, classes: int) -> Any:
    says = np.zeros((len(codes), classes))
    for learnt, held in folds.split(codes, codes):
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch) / "run"
            result = fitted(case, "uniform", seed, case.train[learnt], probes=0.0, folder=place)
            if case.kind == "image":
                with torch.no_grad():
                    images = torch.tensor(case.rows[case.train[held]])
                    says[held] = result.model(images).softmax(dim=1).double().numpy()
            else:
                says[held] = result.predict_proba(case.rows.iloc[case.train[held]])
    return says


def _of_tokens(case: Case, classes: Any, seed: int) -> Any:
    """[tokens, C], from folds of sentences; a label that a fold does not show has probability 0."""
    says = np.empty(len(case.train), dtype=object)
    for learnt, held in KFold(FOLDS[case.kind], shuffle=True, random_state=seed).split(case.train):
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch) / "run"
            result = fitted(case, "uniform", seed, case.train[learnt], probes=0.0, folder=place)
            order = np.searchsorted(classes, result.prepared.targets.classes)
            for row, own in zip(held, result.predict_proba(case.rows.iloc[case.train[held]]), strict=True):
                says[row] = np.zeros((len(own), len(classes)))
                says[row][:, order] = own
    return np.concatenate(says)
