"""The valley between two groups of weights, where no probe says where to cut."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

GROUPS = 0.8
"""Share of the spread that two groups explain: the halves of a flat stretch explain 0.75, of a bell 0.64."""


def valley(weights: Array, *, only_two: bool = False) -> float | None:
    """Where to cut weights [n] so that the two parts are as much of a kind as can be (Otsu 1979).

    Halfway between the neighbours at the cut; None where all are equal.  ``only_two``: None too where the
    parts explain so little of the spread that they are no two groups.
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
        return None
    return float(values[cut] + values[cut + 1]) / 2
