"""How well what scores predict agrees with what retrainings measured, and how sure that is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

RESAMPLES = 2000
LEVEL = 0.95
ROUNDING = 1e-12
"""Of the largest number: what is nearer to each other differs by the rounding of sums."""


def rank_correlation(a: Numbers, b: Numbers) -> Numbers:
    """Spearman's, along the last axis, ties at their mean rank; NaN where one of the two is constant."""
    from scipy.stats import rankdata

    x, y = (rankdata(_told_apart(values), axis=-1) for values in (a, b))
    x, y = (ranks - ranks.mean(-1, keepdims=True) for ranks in (x, y))
    size = np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    found: Numbers = np.where(size > 0, (x * y).sum(-1) / np.where(size > 0, size, 1.0), np.nan)
    return found


def _told_apart(values: Numbers) -> Numbers:
    """Sums of the same scores in another order are ties: only so many digits are told apart as sums have."""
    size = np.abs(values).max(-1, keepdims=True) * ROUNDING
    rounded: Numbers = np.round(values / np.where(size > 0, size, 1.0))
    return rounded


def mean_correlation(predicted: Numbers, real: Numbers) -> float | None:
    """Mean over targets of the correlations over subsets, [Q, S] each; None where none is defined."""
    found = rank_correlation(predicted, real)
    known = found[~np.isnan(found)]
    return float(known.mean()) if len(known) else None


def bootstrap(predicted: Numbers, real: Numbers, *, seed: int) -> tuple[float, float] | None:
    """The 95 % percentile interval of ``mean_correlation`` over resampled subsets; None: not defined.

    Resamples in which all predictions are the same tell nothing and are left out.
    """
    subsets = predicted.shape[1]
    picks = np.random.default_rng(seed).integers(0, subsets, size=(RESAMPLES, subsets))
    total, known = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    for mine, theirs in zip(predicted, real, strict=True):  # one by one, for the memory
        found = rank_correlation(mine[picks], theirs[picks])
        total += np.nan_to_num(found)
        known += ~np.isnan(found)
    if not known.any():
        return None
    means = total[known > 0] / known[known > 0]
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def gain_over(random: Numbers, loss: float) -> tuple[float, float, float]:
    """(mean of ``random`` less ``loss``, low, high): positive where ``loss`` is lower than theirs.

    The interval is that of a single random one more: t(n - 1) s sqrt(1 + 1/n) on both sides.  It covers 0 in
    19 of 20 cases where ``loss`` is one of them; that of their mean alone, s / sqrt(n), covers it in half.
    """
    from scipy.special import stdtrit

    count = len(random)
    gain = float(random.mean()) - loss
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2) * random.std(ddof=1) * math.sqrt(1 + 1 / count))
    return gain, gain - half, gain + half
