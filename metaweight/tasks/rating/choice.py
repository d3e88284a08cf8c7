"""Which rated rows are kept: those of the highest weights, or drawn with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def most(weights: Tensor, share: float) -> Tensor:
    """Positions [k] of the ``share`` of rows with the highest weights [m], sorted; of equal ones the first.

    One at least.  Raises ValueError for a share outside (0, 1].
    """
    order = weights.argsort(descending=True, stable=True)
    return order[: count_of(share, len(weights))].sort().values


def drawn(weights: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Positions [k] of the ``share`` of rows, drawn one by one without putting back, sorted.

    The next one is a row with a probability in proportion to its weight [m] among those that are left
    (Efraimidis & Spirakis, 2006); a row of weight 0 is none.  Raises as ``most``, and where no weight is
    above 0.
    """
    count = min(count_of(share, len(weights)), int((weights > 0).sum()))
    if not count:
        raise ValueError("all weights are 0, so no row can be drawn: keep the first rows without --sample")
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
    """Positions [k] of rows with weights [m], sorted: ``most``, with a ``generator`` ``drawn``.

    ``classes`` [m]: the share is kept in each of them, one row at least, so that none vanishes.
    """
    if classes is None:
        return most(weights, share) if generator is None else drawn(weights, share, generator)
    codes = torch.tensor(classes)
    own = []
    for code in codes.unique().tolist():
        places = (codes == code).nonzero().flatten()
        own.append(places[chosen(weights[places], share, generator=generator)])
    return torch.cat(own).sort().values


def count_of(share: float, rows: int) -> int:
    """Rows that a share of ``rows`` is, one at least.  Raises ValueError for a share outside (0, 1]."""
    if not 0 < share <= 1:
        raise ValueError(f"keep is a share of the rows, above 0 and at most 1, got {share}")
    return max(1, math.floor(share * rows + 0.5))
