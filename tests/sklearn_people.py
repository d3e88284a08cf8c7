"""People as rows, a third of them told wrong, and estimators that are quick on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

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


def classifier(**options: Any) -> mw.ReweightedClassifier:
    return mw.ReweightedClassifier(**{**QUICK, **options})


def numbers_of(frame: pd.DataFrame) -> np.ndarray:
    return 1000 + 50 * (frame["age"] - (frame["town"] == "Kiel")).to_numpy()


def regressor(**options: Any) -> mw.ReweightedRegressor:
    return mw.ReweightedRegressor(**{**QUICK, "epochs": 20, **options})


def labels_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Three labels, of which a row may have several, that follow from ``people``."""
    told = {"old": frame["age"] > 0, "small": frame["size"].fillna(0) < 0.5, "ulm": frame["town"] == "Ulm"}
    return pd.DataFrame(told).astype(int)
