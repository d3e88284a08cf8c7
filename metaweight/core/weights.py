"""What the weights of samples look like, and whether they find the flipped ones."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from metaweight.core.reads import Numbers

PART = 1 << 16
"""Samples whose means are taken at a time, without copies of the weights of all."""


def auroc(weights: Tensor, flipped: Tensor) -> float:
    """Probability that a clean sample has a larger weight than a flipped one, ties counting half.

    ``weights``: [N], ``flipped``: [N] bool.  1 = the weights find every flipped sample, 0.5 = chance.
    NaN where all samples are of one kind: there is nothing to tell apart.
    Raises ValueError for other shapes or a weight that is not finite, TypeError for a mask that is not bool.
    """
    if weights.dim() != 1 or weights.shape != flipped.shape:
        got = f"{tuple(weights.shape)} and {tuple(flipped.shape)}"
        raise ValueError(f"weights and flipped are both [N], got {got}")
    if flipped.dtype != torch.bool:
        raise TypeError(f"flipped is a bool mask, got {flipped.dtype}; write given != clean")
    if not bool(weights.isfinite().all()):
        raise ValueError("weights hold NaN or infinity: pass only the samples that were seen")
    if bool(flipped.all()) or not bool(flipped.any()):
        return math.nan
    from sklearn.metrics import roc_auc_score

    # NumPy has no bfloat16; float64 holds every weight exactly, so ties stay ties
    scores = -weights.detach().cpu().double()
    return float(roc_auc_score(flipped.cpu().numpy(), scores.numpy()))


def effective_sample_size(weights: Tensor) -> float:
    """(Σw)² / Σw² of weights [N] >= 0: N where all are equal, 1 where one has it all, 0 where all are 0."""
    return float(_effective_size(_in_double(weights)))


def weight_summary(weights: Tensor) -> Numbers:
    """Mean, relative spread and effective share of a batch's weights [U], computed where these are.

    ``weight_mean``; ``weight_spread``: population std / mean, 0 where all weights are 0; ``ess``: effective
    sample size / U, in [0, 1], which is 1 / (1 + spread²).
    """
    weights = _in_double(weights)
    mean = weights.mean()
    return Numbers(
        {
            "weight_mean": mean,
            "weight_spread": (weights.std(correction=0) / mean).where(mean > 0, 0.0),
            "ess": _effective_size(weights) / len(weights),
        }
    )


def _effective_size(weights: Tensor) -> Tensor:
    peak = weights.max()
    scaled = weights / peak  # squares neither overflow nor vanish
    return (scaled.sum() ** 2 / scaled.square().sum()).where(peak != 0, 0.0)


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1) of one value a seed; the spread of one value is NaN.

    Raises ValueError for no value.
    """
    if not values:
        raise ValueError("a mean needs at least one value, got none")
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def mean_after(values: Tensor, warmup: int) -> Tensor:
    """The mean of ``values`` [epochs, n] over the epochs behind the first ``warmup``, NaN left out: [n].

    A warm-up epoch is plain training, in which every sample weighs 1: that says nothing of it.  Of a run that
    ended in its warm-up all epochs count.
    """
    behind = values[warmup:]
    known = values if all(bool(part.isnan().all()) for part in behind.split(PART, dim=1)) else behind
    return torch.cat([part.nanmean(dim=0) for part in known.split(PART, dim=1)])


def _in_double(weights: Tensor) -> Tensor:
    """In float64: sums that lose no digit."""
    if weights.dim() != 1 or len(weights) == 0:
        raise ValueError(f"weights are [N] with N >= 1, got {tuple(weights.shape)}")
    return weights.detach().double()


def group_means(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """The mean of the ``values`` [U, ...] of each ``group`` [U], int64 from 0: [groups, ...]."""
    counts = torch.zeros(groups, dtype=torch.int64, device=group.device)
    counts.index_add_(0, group, torch.ones_like(group))
    sums = values.new_zeros(groups, *values.shape[1:]).index_add_(0, group, values)
    return sums / counts.view(-1, *[1] * (values.dim() - 1))


def groups_of(values: Tensor) -> Tensor:
    """A number below U, from 0, for each of ``values`` [U], the same for equal ones: [U] int64."""
    ascending, order = values.sort()
    starts = torch.cat([ascending.new_zeros(1, dtype=torch.bool), ascending[1:] != ascending[:-1]])
    return torch.empty_like(order).scatter_(0, order, starts.cumsum(0))
