"""The suspects of one run by class: class by class, and given against suggested class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaweight.report.suspects import Suspects

PAIRS = 12
"""Pairs of a given and a suggested class that are shown."""
SQUARE = 12
"""Classes up to which all pairs are shown."""
CLASSES = 40
"""Classes that are shown, those with most suspects."""


@dataclass(frozen=True)
class OfClass:
    """The rows of one given class."""

    name: str
    rows: int
    suspects: int
    mean: float


@dataclass(frozen=True)
class Matrix:
    """Suspects by given and suggested class, the class with most of them first."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """A row a given class."""

    @property
    def most(self) -> int:
        """Of a pair of different classes, at least 1."""
        apart = (n for g, row in enumerate(self.counts) for s, n in enumerate(row) if g != s)
        return max(1, *apart)


@dataclass(frozen=True)
class Classes:
    """What stands of classes on the page."""

    classes: tuple[OfClass, ...]
    left_out: int
    """Classes that are not shown."""
    matrix: Matrix | None
    """None where there are many classes, or no suspect."""
    pairs: tuple[tuple[str, str, int], ...]
    """Given and another suggested class, and how many suspects, the most frequent first."""


def by_class(found: Suspects, weights: Any, names: Sequence[str]) -> Classes | None:
    """Of ``weights`` [m] in the order of ``found``; None for rows without classes."""
    samples, order = found.samples, found.order
    said = samples.predicted()
    if samples.given is None or samples.probabilities is None or said is None:
        return None
    given, suggested, suspect = (values[order].numpy() for values in (samples.given, said, found.is_suspect))
    count = samples.probabilities.shape[1]
    counts = np.zeros((count, count), dtype=np.int64)
    np.add.at(counts, (given[suspect], suggested[suspect]), 1)
    rows, sums = np.bincount(given, minlength=count), np.bincount(given, weights, minlength=count)
    labels = [str(names[code]) if len(names) else str(code) for code in range(count)]
    bad = counts.sum(axis=1)
    shown = sorted(np.flatnonzero(rows), key=lambda one: (-bad[one] / rows[one], labels[one]))
    classes = tuple(
        OfClass(labels[one], int(rows[one]), int(bad[one]), float(sums[one] / rows[one])) for one in shown
    )
    square = _square(counts, labels) if count <= SQUARE and suspect.any() else None
    return Classes(classes[:CLASSES], max(0, len(classes) - CLASSES), square, _pairs(counts, labels))


def _square(counts: Any, labels: Sequence[str]) -> Matrix:
    apart = counts - np.diag(counts.diagonal())
    order = np.argsort(-(apart.sum(axis=0) + apart.sum(axis=1)), kind="stable")
    rows = tuple(tuple(row) for row in counts[np.ix_(order, order)].tolist())
    return Matrix(tuple(labels[one] for one in order), rows)


def _pairs(counts: Any, labels: Sequence[str]) -> tuple[tuple[str, str, int], ...]:
    found = [
        (labels[given], labels[said], int(counts[given, said]))
        for given, said in zip(*np.nonzero(counts), strict=True)
        if given != said
    ]
    return tuple(sorted(found, key=lambda one: (-one[2], one[:2]))[:PAIRS])
