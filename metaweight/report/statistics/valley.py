"""The valley between two groups of weights, where no probe says where to cut."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

GROUPS = 0.8
"""Share of the spread that two groups explain: the halves of a flat stretch explain 0.75, of a bell 0.64."""
BINS, MOST = 32, 0.99
"""Parts of equal width that weights up to this quantile are cut into, in search of a small heap."""
SURE = 3.7
"""Spreads by which the heap's highest part exceeds the valley's lowest: among 500 pairs of parts of a flat
stretch one in twenty has two that differ so."""


def valley(weights: Array, *, only_two: bool = False) -> float | None:
    """Where to cut weights [n] so that the two parts are as much of a kind as can be (Otsu 1979).

    Halfway between the neighbours at the cut; None where all are equal.  ``only_two``: where the parts
    explain so little of the spread that they are no two groups, the end of a ``small_heap``, or None too.
    """
    values = np.sort(weights)
    if not len(values) or values[0] == values[-1]:
        return None
    n, below = len(values), np.arange(1, len(values))
    sums = np.cumsum(values)
    means = sums[:-1] / below, (sums[-1] - sums[:-1]) / (n - below)
    between = below * (n - below) / n**2 * (means[0] - means[1]) ** 2
    between[values[1:] == values[:-1]] = -1.0  # equal weights stay together
    cut = int(between.argmax())
    if only_two and between[cut] <= GROUPS * values.var():
        return small_heap(values)
    return float(values[cut] + values[cut + 1]) / 2


def small_heap(values: Array) -> float | None:
    """The end of a heap of low ``values`` [n] that a sparse stretch parts from most others; None without one.

    A twentieth of the values explains little of their spread, however far apart it lies.  So this looks for a
    valley in their histogram, with less than half of them below, that is lower than the heaps on either side
    by more than chance.
    """
    low, high = values.min(), np.quantile(values, MOST)
    if low == high:
        return None
    counts, edges = np.histogram(values, BINS, (low, high))
    below = np.cumsum(counts)
    best, found = SURE, None
    for at in np.flatnonzero(below < len(values) / 2)[1:]:
        heaps = counts[:at].max(), counts[at + 1 :].max(initial=0)
        depth = min((heap - counts[at]) / np.sqrt(max(heap + counts[at], 1)) for heap in heaps)
        if depth > best:
            best, found = depth, float(edges[at] + edges[at + 1]) / 2
    return found
