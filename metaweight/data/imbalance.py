"""Class imbalance: which samples of a balanced set to keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from metaweight.core.registry import did_you_mean
from metaweight.data.splits import draw_per_class
from metaweight.student.losses import check_labels


def long_tail(labels: Tensor, factor: float, classes: int, *, generator: torch.Generator) -> Tensor:
    """Keep n_k = n_max * factor^(-k / (C-1)) random samples of class k: [N] -> sorted positions int64.

    ``factor`` >= 1 is the imbalance ratio n_max / n_min; n_k is rounded down, n_max the largest that every
    class allows.  Classes without samples take no part: C and k count the others.  Raises ValueError for a
    bad factor or a class that would be empty.  Cui et al. (CVPR 2019).
    """
    present = _present(labels, factor, classes)
    shares = [factor ** (-k / (len(present) - 1)) for k in range(len(present))]
    return _keep(labels, present, shares, generator)


def step_imbalance(labels: Tensor, factor: float, classes: int, *, generator: torch.Generator) -> Tensor:
    """Keep n_max random samples of the first classes, n_max / factor of the last C // 2: sorted positions.

    Options and errors as for ``long_tail``.  Buda, Maki and Mazurowski (2018).
    """
    present = _present(labels, factor, classes)
    minority = len(present) // 2
    shares = [1.0] * (len(present) - minority) + [1 / factor] * minority
    return _keep(labels, present, shares, generator)


_CUTS: Mapping[str, Callable[..., Tensor]] = {"long-tail": long_tail, "step": step_imbalance}


def check_imbalance(kind: str) -> None:
    """Raise ValueError, with the nearest, for a kind that is neither long-tail nor step nor none."""
    if kind != "none" and kind not in _CUTS:
        raise ValueError(f"unknown imbalance {kind!r}.{did_you_mean(kind, ['none', *_CUTS])}")


def thinned(
    kind: str, positions: Tensor, labels: Tensor, factor: float, classes: int, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Those of ``positions`` [n] that the imbalance ``kind``, not none, keeps, and those that it takes.

    ``labels`` [n]: theirs.  Raises as ``long_tail``.
    """
    kept = torch.zeros(len(positions), dtype=torch.bool)
    kept[_CUTS[kind](labels, factor, classes, generator=generator)] = True
    return positions[kept], positions[~kept]


def _present(labels: Tensor, factor: float, classes: int) -> list[int]:
    """The classes that have samples, once the options are checked."""
    if not (math.isfinite(factor) and factor >= 1):
        raise ValueError(f"an imbalance ratio is a number >= 1, got {factor}")
    if classes < 2:
        raise ValueError(f"imbalance needs at least 2 classes, got {classes}")
    check_labels(labels, classes)
    present: list[int] = torch.bincount(labels, minlength=classes).nonzero().flatten().tolist()
    if len(present) < 2:
        raise ValueError(f"imbalance needs samples of at least 2 classes, got those of {present}")
    return present


def _keep(labels: Tensor, present: list[int], shares: list[float], generator: torch.Generator) -> Tensor:
    """Random samples of the classes ``present``, in proportion to ``shares``: 1 for the first, then less."""
    available = torch.bincount(labels)[present].tolist()
    largest = _floor(min(n / share for n, share in zip(available, shares, strict=True)))
    counts = [_floor(largest * share) for share in shares]
    if 0 in counts:
        place = counts.index(0)
        raise ValueError(
            f"class {present[place]} has {available[place]} samples and would keep none beside the {largest} "
            "of the largest class; lower the imbalance ratio"
        )
    of_all = torch.zeros(present[-1] + 1, dtype=torch.int64)
    of_all[present] = torch.tensor(counts)
    return draw_per_class(labels, of_all, generator=generator)


def _floor(value: float) -> int:
    return math.floor(value + 1e-9)  # 1000 * 32^-0.4 comes out a hair below 250
