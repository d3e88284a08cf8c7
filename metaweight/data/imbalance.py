"""Class imbalance: which samples of a balanced set to keep."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metaweight.data.splits import draw_per_class
from metaweight.student.losses import check_labels


def long_tail(labels: Tensor, factor: float, classes: int, *, generator: torch.Generator) -> Tensor:
    """Keep n_k = n_max * factor^(-k / (C-1)) random samples of class k: [N] -> sorted positions int64.

    ``factor`` >= 1 is the imbalance ratio n_max / n_min; n_k is rounded down, n_max the largest that every
    class allows.  Raises ValueError for a bad factor or a class that would be empty.  Cui et al. (CVPR 2019).
    """
    _check(labels, factor, classes)
    return _keep(labels, [factor ** (-k / (classes - 1)) for k in range(classes)], generator)


def step_imbalance(labels: Tensor, factor: float, classes: int, *, generator: torch.Generator) -> Tensor:
    """Keep n_max random samples of the first classes, n_max / factor of the last C // 2: sorted positions.

    Options and errors as for ``long_tail``.  Buda, Maki and Mazurowski (2018).
    """
    _check(labels, factor, classes)
    minority = classes // 2
    return _keep(labels, [1.0] * (classes - minority) + [1 / factor] * minority, generator)


def _check(labels: Tensor, factor: float, classes: int) -> None:
    if not (math.isfinite(factor) and factor >= 1):
        raise ValueError(f"an imbalance ratio is a number >= 1, got {factor}")
    if classes < 2:
        raise ValueError(f"imbalance needs at least 2 classes, got {classes}")
    check_labels(labels, classes)


def _keep(labels: Tensor, shares: list[float], generator: torch.Generator) -> Tensor:
    """Random samples in proportion to ``shares`` [C], whose first is 1 and the largest."""
    available = torch.bincount(labels, minlength=len(shares)).tolist()
    largest = _floor(min(n / share for n, share in zip(available, shares, strict=True)))
    counts = [_floor(largest * share) for share in shares]
    if 0 in counts:
        k = counts.index(0)
        raise ValueError(
            f"class {k} has {available[k]} samples and would keep none beside the {largest} of the largest "
            "class; lower the imbalance ratio"
        )
    return draw_per_class(labels, torch.tensor(counts), generator=generator)


def _floor(value: float) -> int:
    return math.floor(value + 1e-9)  # 1000 * 32^-0.4 comes out a hair below 250
