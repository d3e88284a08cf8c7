"""One fit with probes, and whether what it promised of its suspects is true."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass

import numpy as np
import torch

import metaweight as mw
from benchmarks.belief.tables import Labelled, spoilt
from metaweight.core.weights import auroc
from metaweight.report.statistics.belief import Belief


@dataclass(frozen=True)
class Plan:
    """How every trial is made."""

    rows: int
    """Training rows, at most."""
    trusted: int
    """Trusted rows, at most a quarter of all."""
    probes: float
    """Share of the training rows."""
    epochs: int


@dataclass(frozen=True)
class Trial:
    """What was said and what is true; None where nothing was said."""

    data: str
    kind: str
    teacher: str
    seed: int
    verdict: str
    probes: int
    auroc: float | None
    """Of the weights on the training rows, by the truth; None where all or none are wrong."""
    told_auroc: float | None
    told_low: float | None
    told_high: float | None
    wrong: float
    """Share of wrong training rows."""
    told_wrong: float | None
    wrong_low: float | None
    wrong_high: float | None
    below: int
    precision: float | None
    """Of the rows at or below the cut-off."""
    told_precision: float | None
    precision_low: float | None
    precision_high: float | None
    seconds: float


def trial(name: str, data: Labelled, kind: str, teacher: str, seed: int, plan: Plan) -> Trial:
    """Draw rows and wrong labels by ``seed``, fit with probes, and hold the promise against the truth."""
    random = np.random.default_rng([seed, zlib.crc32(f"{name} {kind}".encode())])
    given = spoilt(kind, data, random) if data.given is None else data.given
    order = random.permutation(len(data.right))
    size = min(plan.trusted, len(order) // 4)
    meta, train = order[:size], order[size:]
    train = train[given[train] >= 0][: plan.rows]
    started = time.perf_counter()
    model = mw.ReweightedClassifier(
        teacher=teacher, probes=plan.probes, epochs=plan.epochs, random_state=seed
    ).fit(data.rows.iloc[train], given[train], X_meta=data.rows.iloc[meta], y_meta=data.right[meta])
    seconds = time.perf_counter() - started
    flipped = given[train] != data.right[train]
    weights = model.suspects_.sort_values("row")["mean_weight"].to_numpy(copy=True)
    area = auroc(torch.from_numpy(weights), torch.from_numpy(flipped))
    found = model.belief_
    assert found is not None
    true = float(flipped[weights <= found.cutoff].mean()) if found.cutoff is not None else None
    return Trial(
        *(name, kind, teacher, seed, found.verdict, found.probes, area, *_told(found, "auroc")),
        *(float(flipped.mean()), *_told(found, "wrong")),
        *(found.below, true, *_told(found, "precision"), seconds),
    )


def _told(found: Belief, figure: str) -> tuple[float | None, float | None, float | None]:
    estimate = getattr(found, figure)
    return (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)
