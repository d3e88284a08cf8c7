"""Which rated rows are kept: those of the highest weights, or drawn with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def most(weights: Tensor, count: int) -> Tensor:
    """Positions [count] of the rows with the highest weights [m], sorted; of equal ones the first."""
    return weights.argsort(descending=True, stable=True)[:count].sort().values


def drawn(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Positions [count] of rows, drawn one by one without putting back, sorted.

    The next one is a row with a probability in proportion to its weight [m] among those that are left
    (Efraimidis & Spirakis, 2006); a row of weight 0 is none, so that fewer may come, unless all are 0, which
    is as if all were 1.
    """
    if not (weights > 0).any():
        weights = torch.ones_like(weights)
    count = min(count, int((weights > 0).sum()))
    # log(u) / w, whose order is that of the draws; exact where u ** (1 / w) would be 0
    uniform = torch.rand(len(weights), generator=generator, dtype=torch.float64)
    keys = torch.where(weights > 0, uniform.log() / weights.double(), -torch.inf)
    return keys.argsort(descending=True, stable=True)[:count].sort().values


def chosen(
    weights: Tensor,
    share: float,
    *,
    classes: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Positions [k] of the ``share`` of rows with weights [m], sorted: ``most``, with a ``generator``
    ``drawn``.

    ``classes`` [m]: the share is kept in each of them, one row at least, so that none vanishes.  Raises
    ValueError for a share outside (0, 1].
    """
    codes = torch.zeros(len(weights)) if classes is None else torch.tensor(classes)
    parts = [(codes == code).nonzero().flatten() for code in codes.unique()]
    own = []
    for places, count in zip(parts, counts_of(share, [len(part) for part in parts]), strict=True):
        some = weights[places]
        own.append(places[most(some, count) if generator is None else drawn(some, count, generator)])
    return torch.cat(own).sort().values


def counts_of(share: float, sizes: Sequence[int]) -> list[int]:
    """Rows that a share of parts of these ``sizes`` is, one at least of each.

    They add up to the share of all, by largest remainders, as far as one of each leaves it so.  Raises
    ValueError as ``count_of``.
    """
    whole = count_of(share, sum(sizes))
    counts = [math.floor(share * size) for size in sizes]
    behind = sorted(range(len(sizes)), key=lambda part: counts[part] - share * sizes[part])
    for part in behind[: whole - sum(counts)]:
        counts[part] += 1
    return [max(count, 1) for count in counts]


def count_of(share: float, rows: int) -> int:
    """Rows that a share of ``rows`` is, one at least.  Raises ValueError for a share outside (0, 1]."""
    if not 0 < share <= 1:
        raise ValueError(f"keep is a share of the rows, above 0 and at most 1, got {share}")
    return max(1, math.floor(share * rows + 0.5))
