"""One table under one seed: raters of one half beside rules without one, on the other half."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import metaweight as mw
from benchmarks.own.sets import LABEL, Array, Case
from benchmarks.own.trial import MODEL, fitted, quality
from metaweight.core.weights import auroc
from metaweight.tasks.rating.choice import chosen


@dataclass(frozen=True)
class Trial:
    """What one rule reached on the new half."""

    data: str
    wrong: str
    """Which labels are wrong, of ``WRONG`` in benchmarks.own.sets."""
    arm: str
    seed: int
    rows: int
    """Of the new half."""
    share: float
    """Of wrong ones among these."""
    auroc: float | None
    """Of the weights for finding them; None of bounds."""
    clean: float
    """Share of right ones among the rows that are kept."""
    accuracy: float
    """Of test rows, in percent: a plain student on the kept rows."""
    accuracy_per_class: float | None = None
    """The same where the share is kept in each class; None of bounds."""


def halves(case: Case) -> tuple[Array, Array]:
    """The training rows of ``case`` [n]: those of the run, and the new ones."""
    return case.train[: len(case.train) // 2], case.train[len(case.train) // 2 :]


def trials(case: Case, wrong: str, teachers: tuple[str, ...], keep: float, seed: int) -> Iterator[Trial]:
    """Every arm: ``all`` new rows and the ``right`` ones (bounds), rules without a rater, ``teachers``."""
    own, new = halves(case)
    bad = case.given[new] != case.right[new]
    about = {"data": case.name, "wrong": wrong, "seed": seed, "rows": len(new), "share": float(bad.mean())}

    def plain(rows: Any) -> float:
        return plain_accuracy(case, rows, seed)

    def trial(arm: str, weights: Tensor) -> Trial:
        classes = np.unique(case.given[new], return_inverse=True)[1].tolist()
        kept = chosen(weights, keep).numpy()
        each = chosen(weights, keep, classes=classes).numpy()
        area = auroc(weights, torch.tensor(bad))
        return Trial(
            arm=arm,
            auroc=area,
            clean=1 - float(bad[kept].mean()),
            accuracy=plain(new[kept]),
            accuracy_per_class=plain(new[each]),
            **about,
        )

    yield Trial(arm="all", auroc=None, clean=1 - about["share"], accuracy=plain(new), **about)
    yield Trial(arm="right", auroc=None, clean=1.0, accuracy=plain(new[~bad]), **about)
    yield trial("random", torch.rand(len(new), generator=torch.Generator().manual_seed(seed)))
    yield trial("cleanlab", torch.tensor(quality(replace(case, train=new), seed)[1]))
    with tempfile.TemporaryDirectory() as scratch:
        result = fitted(case, "uniform", seed, own, probes=0.0, folder=Path(scratch) / "run")
        yield trial("loss, plain", likelihood(case, result, new))
    for teacher in teachers:
        with tempfile.TemporaryDirectory() as scratch:
            result = fitted(case, teacher, seed, own, probes=0.0, folder=Path(scratch) / "run")
            if teacher == teachers[0]:
                yield trial("loss", likelihood(case, result, new))
            rated = result.rate(case.rows.iloc[new].assign(**{LABEL: case.given[new].astype(str)}))
            yield trial(teacher, torch.tensor(rated["weight"].to_numpy()))


def plain_accuracy(case: Case, rows: Any, seed: int) -> float:
    """Of test rows, in percent, by a plain student on ``rows``; one of a class that these lack is missed."""
    # trusted rows are asked for, and a plain student looks at none
    meta = case.meta[np.isin(case.right[case.meta], case.given[rows])]
    frames = [
        case.rows.iloc[at].assign(**{LABEL: labels[at].astype(str)})
        for at, labels in ((rows, case.given), (meta, case.right))
    ]
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "run"
        result = mw.fit(MODEL[case.kind], *frames, label=LABEL, teacher="uniform", seed=seed, folder=place)
    said = result.predict(case.rows.iloc[case.test])
    return 100 * float((said == case.right[case.test].astype(str)).mean())


def likelihood(case: Case, result: mw.Fit, new: Array) -> Tensor:
    """The probability of each given label [n], which falls with the loss of the run's student."""
    says = result.predict_proba(case.rows.iloc[new])
    order = {name: place for place, name in enumerate(result.prepared.targets.classes)}
    codes = [order[str(label)] for label in case.given[new]]
    return torch.tensor(says[np.arange(len(new)), codes])
