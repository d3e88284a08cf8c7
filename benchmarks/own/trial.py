"""One set under one seed: plain training, ``auto``, and cleanlab, on the same wrong labels."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

import metaweight as mw
from benchmarks.own.sets import LABEL, Case
from metaweight.core.weights import auroc
from metaweight.data.tabular import TableEncoder
from metaweight.models import build_model, default_taps
from metaweight.report.suspects import Suspects

MODEL = {"tabular": "tabular-mlp", "text": "text-bag"}
FOLDS = {"tabular": 5, "text": 3, "image": 3}


@dataclass(frozen=True)
class Trial:
    """What one arm reached."""

    data: str
    kind: str
    arm: str
    seed: int
    rows: int
    wrong: float
    """Share of wrong training rows."""
    accuracy: float | None
    """Of test rows with right labels, in percent."""
    auroc: float | None
    """Of the weights, or cleanlab's scores, for finding the wrong rows."""
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
    frames = [
        case.rows.iloc[at].assign(**{LABEL: own[at].astype(str)})
        for at, own in ((train, case.given), (case.meta, case.right), (case.test, case.right))
    ]
    return mw.fit(MODEL[case.kind], *frames, label=LABEL, **options)


def own_trial(case: Case, arm: str, seed: int, probes: float) -> Trial:
    """``uniform`` or ``auto``."""
    with tempfile.TemporaryDirectory() as scratch:
        planted = probes if arm != "uniform" else 0.0
        result = fitted(case, arm, seed, case.train, probes=planted, folder=Path(scratch) / "run")
        found = Suspects(result.samples).belief
        area = auroc(torch.tensor(result.weights), torch.tensor(case.wrong)) if arm != "uniform" else None
    return Trial(
        *(case.name, case.kind, arm, seed, len(case.train), float(case.wrong.mean())),
        *(result.figures["accuracy"], area, found.verdict if found and planted else ""),
        float(result.figures["seconds"] or 0),
    )


def cleanlab_trial(case: Case, seed: int) -> Trial:
    """cleanlab's label quality by a cross-validated forest (tables), or the task's own model."""
    import time

    from cleanlab.rank import get_label_quality_scores

    began = time.perf_counter()
    classes, codes = np.unique(case.given[case.train], return_inverse=True)
    folds = StratifiedKFold(FOLDS[case.kind], shuffle=True, random_state=seed)
    if case.kind == "tabular":
        rows = case.rows.iloc[case.train].reset_index(drop=True)
        encoder = TableEncoder().fit(rows)
        numbers = encoder.one_hot(encoder.transform(rows)).numpy()
        forest = RandomForestClassifier(n_estimators=200, random_state=seed)
        says = cross_val_predict(forest, numbers, codes, cv=folds, method="predict_proba")
    else:
        says = _own_probabilities(case, codes, folds, seed, len(classes))
    area = auroc(torch.tensor(get_label_quality_scores(codes, says)), torch.tensor(case.wrong))
    about = (case.name, case.kind, "cleanlab", seed, len(case.train), float(case.wrong.mean()))
    return Trial(*about, None, area, "", time.perf_counter() - began)


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
