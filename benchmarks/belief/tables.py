"""Tables whose right labels are known, and wrong labels of several kinds put into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metaweight.data.folder import find_file

Array = np.ndarray[Any, Any]
CARRIED = ("digits", "cancer")
"""Sets that scikit-learn brings along."""
INJECTED = (
    *CARRIED,
    "satellite",
    "spambase",
    "letter",
    "optdigits",
    "magic_gamma",
    "telco_churn",
    "hpc_jobs",
)
REAL = ("defects_derby", "defects_lucene", "student_grades")
"""Sets with wrong labels of their own, and the right ones beside them."""
KINDS: Mapping[str, float] = {
    "uniform-20": 0.2,
    "uniform-40": 0.4,
    "next": 0.3,
    "one-class": 0.4,
    "near": 0.3,
}
"""Kind of wrong labels -> share of rows that is hit: ``next``: the class after the right one; ``one-class``:
that too, but of even classes alone; ``near``: what a linear model takes for second best."""


@dataclass(frozen=True)
class Labelled:
    """Rows with their right label and, for ``REAL`` sets, the label that they came with."""

    rows: pd.DataFrame
    right: Array
    """[n] int64."""
    given: Array | None = None
    """[n] int64, -1 where there is none."""

    @property
    def classes(self) -> int:
        """C."""
        return int(self.right.max()) + 1


def read(name: str, folder: Path) -> Labelled:
    """The set ``name``.  Raises ValueError where ``folder`` has not its file."""
    if name in CARRIED:
        from sklearn import datasets

        load = {"digits": datasets.load_digits, "cancer": datasets.load_breast_cancer}[name]
        rows, right = load(return_X_y=True)
        return Labelled(pd.DataFrame(rows).add_prefix("c"), right.astype(np.int64))
    place = folder / "tabular" / name
    frame = pd.read_csv(find_file([f"{name}.csv.xz"], [place], dataset=name))
    if name not in REAL:
        return Labelled(frame.iloc[:, :-1], pd.factorize(frame.iloc[:, -1], sort=True)[0])
    frame = frame[frame["split"] == "train"].reset_index(drop=True)
    right, names = pd.factorize(frame["label"], sort=True)
    others = ["split", "release", "count", "noisy_count", "noisy", "label"]
    rows = frame.drop(columns=[column for column in others if column in frame])
    return Labelled(rows, right, names.get_indexer(frame["noisy"].astype(names.dtype)))


def spoilt(kind: str, data: Labelled, random: np.random.Generator) -> Array:
    """Given labels [n] of which some are wrong."""
    rate, right, classes = KINDS[kind], data.right, data.classes
    given = right.copy()
    if kind == "near":
        second, sure = _second_best(data)
        hit = random.random(len(right)) < np.minimum((sure + 0.05) / (sure + 0.05).mean() * rate, 0.9)
        given[hit] = second[hit]
        return given
    hit = random.random(len(right)) < rate
    if kind == "one-class":
        hit &= right % 2 == 0
    uniform = kind.startswith("uniform")
    step = random.integers(1, classes, hit.sum()) if uniform else np.ones(hit.sum(), dtype=np.int64)
    given[hit] = (right[hit] + step) % classes
    return given


def _second_best(data: Labelled) -> tuple[Array, Array]:
    """The wrong class that a linear model likes best, and how much: [n], [n]."""
    numbers = pd.get_dummies(data.rows).astype(float).to_numpy()
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=300))
    says = model.fit(numbers, data.right).predict_proba(numbers)
    says[np.arange(len(says)), data.right] = -1.0
    return says.argmax(axis=1), says.max(axis=1)
