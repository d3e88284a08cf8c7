"""One run under one seed: raters of its rows beside rules without one, on new rows."""

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
from benchmarks.rater.population import population
from metaweight.core.weights import auroc
from metaweight.integrations.fit.rating import read_new
from metaweight.tasks.rating.choice import chosen


@dataclass(frozen=True)
class Trial:
    """What one rule reached on the new rows."""

    data: str
    wrong: str
    """Which labels are wrong, of ``WRONG`` in benchmarks.own.sets."""
    arm: str
    seed: int
    rows: int
    """New ones."""
    share: float
    """Of wrong ones among these."""
    auroc: float | None
    """Of the weights for finding them; None of bounds."""
    clean: float
    """Share of right ones among the rows that are kept."""
    accuracy: float | None = None
    """Of test rows, in percent: a plain student on the kept rows; None where none is trained."""
    accuracy_per_class: float | None = None
    """The same where the share is kept in each class; None of bounds too."""


@dataclass(frozen=True)
class Raters:
    """Which are compared."""

    teachers: tuple[str, ...]
    """The student of the first one's run is that of the arm loss."""
    over: tuple[str, ...] = ()
    """Those that are also trained over a population."""
    students: int = 4
    """Of a population."""


def halves(case: Case) -> tuple[Case, Case]:
    """Two cases of ``case``: one has the first half of its training rows, the other the second."""
    cut = len(case.train) // 2
    return replace(case, train=case.train[:cut]), replace(case, train=case.train[cut:])


def trials(
    own: Case, new: Case, wrong: str, raters: Raters, keep: float, seed: int, *, train: bool = True
) -> Iterator[Trial]:
    """Every arm: ``all`` training rows of ``new`` and the ``right`` ones (bounds), rules without a rater, and
    raters of runs on those of ``own``.

    ``train``: whether a plain student is trained on what each keeps; without, there are no bounds.
    """
    rows = new.train
    bad = new.given[rows] != new.right[rows]
    name = new.name if own.name == new.name else f"{own.name} to {new.name}"
    about = {"data": name, "wrong": wrong, "seed": seed, "rows": len(rows), "share": float(bad.mean())}

    def plain(kept: Any) -> float:
        return plain_accuracy(new, kept, seed)

    def trial(arm: str, weights: Tensor) -> Trial:
        classes = np.unique(new.given[rows], return_inverse=True)[1].tolist()
        kept = chosen(weights, keep).numpy()
        each = chosen(weights, keep, classes=classes).numpy()
        return Trial(
            arm=arm,
            auroc=auroc(weights, torch.tensor(bad)),
            clean=1 - float(bad[kept].mean()),
            accuracy=plain(rows[kept]) if train else None,
            accuracy_per_class=plain(rows[each]) if train else None,
            **about,
        )

    if train:
        yield Trial(arm="all", auroc=None, clean=1 - about["share"], accuracy=plain(rows), **about)
        yield Trial(arm="right", auroc=None, clean=1.0, accuracy=plain(rows[~bad]), **about)
    yield trial("random", torch.rand(len(rows), generator=torch.Generator().manual_seed(seed)))
    yield trial("cleanlab", torch.tensor(quality(new, seed)[1]))
    for teacher in raters.teachers:
        with tempfile.TemporaryDirectory() as scratch:
            result = fitted(own, teacher, seed, own.train, probes=0.0, folder=Path(scratch) / "run")
            if teacher == raters.teachers[0]:
                yield trial("loss", likelihood(new, result))
            yield trial(teacher, torch.tensor(result.rate(labelled(new))["weight"].to_numpy()))
    with tempfile.TemporaryDirectory() as scratch:
        result = fitted(own, "uniform", seed, own.train, probes=0.0, folder=Path(scratch) / "run")
        yield trial("loss, plain", likelihood(new, result))
        for teacher in raters.over:
            rater = population(result, teacher, raters.students, seed)
            weights = rater.rate(read_new(rater, labelled(new))).weights
            yield trial(f"{teacher}, {raters.students} students", weights)


def labelled(case: Case) -> Any:
    """The training rows with the labels that they were given, as ``metaweight.fit`` takes them."""
    given = case.given[case.train]
    if case.kind == "image":
        return case.rows[case.train], given
    return case.rows.iloc[case.train].assign(**{LABEL: given.astype(str)})


def plain_accuracy(case: Case, rows: Any, seed: int) -> float:
    """Of test rows, in percent, by a plain student on ``rows``; one of a class that these lack is missed."""
    # trusted rows are asked for, and a plain student looks at none
    case = replace(case, meta=case.meta[np.isin(case.right[case.meta], case.given[rows])], train=rows)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "run"
        if case.kind == "image":
            result = fitted(case, "uniform", seed, rows, probes=0.0, folder=place)
        else:
            meta = labelled(replace(case, train=case.meta, given=case.right))
            options = {"label": LABEL, "teacher": "uniform", "seed": seed, "folder": place}
            result = mw.fit(MODEL[case.kind], labelled(case), meta, **options)
    classes = np.array(result.prepared.targets.classes)
    said = classes[probabilities(case, result, case.test).argmax(axis=1)]
    return 100 * float((said == case.right[case.test].astype(str)).mean())


def likelihood(case: Case, result: mw.Fit) -> Tensor:
    """The probability of each given label [n], which falls with the loss of the run's student."""
    says = probabilities(case, result, case.train)
    order = {name: place for place, name in enumerate(result.prepared.targets.classes)}
    codes = [order[str(label)] for label in case.given[case.train]]
    return torch.tensor(says[np.arange(len(codes)), codes])


def probabilities(case: Case, result: mw.Fit, rows: Array) -> Array:
    """Of each class of the run [n, C], by its student."""
    if case.kind != "image":
        return result.predict_proba(case.rows.iloc[rows])
    with torch.no_grad():
        found: Array = result.model(torch.tensor(case.rows[rows])).softmax(dim=1).double().numpy()
    return found
