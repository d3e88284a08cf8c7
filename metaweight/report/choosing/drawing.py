"""Which rows are drawn: as many of each group as there are of the others, as far as they are there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metaweight.data.seeding import derive
from metaweight.data.splits import draw_per_class, even_counts

OF_EACH = 10
"""Rows of each class that are drawn by default, where that is more than ``SIZE``."""
SIZE = 100
NAMED = 8
"""Classes that a note names."""


def draw(groups: Tensor, count: int, size: int | None, place: str, seed: int) -> Tensor:
    """Sorted positions of ``size`` rows, as even as can be over their ``groups`` [N] int64, of ``count``.

    By default half of them at most, so that there are rows left to train on.
    Raises ValueError for a size below 1 or above N.
    """
    there = len(groups)
    default = min(max(SIZE, OF_EACH * count), max(there // 2, 1))
    wanted = default if size is None else size
    if not 1 <= wanted <= there:
        raise ValueError(f"{place} has {there:,} rows that can be drawn, asked for {wanted:,} (--size)")
    generator = derive(seed, "trusted")
    available = torch.bincount(groups, minlength=count)
    return draw_per_class(groups, even_counts(available, wanted, generator=generator), generator=generator)


def said_of_each(groups: Tensor, picked: Tensor, classes: Sequence[str]) -> str:
    """How many were ``picked`` of each class, and of which there are no more."""
    available = torch.bincount(groups, minlength=len(classes)).tolist()
    drawn = torch.bincount(groups[picked], minlength=len(classes)).tolist()
    most = max(drawn)
    few = [k for k, number in enumerate(drawn) if number == available[k] < most]
    others = [number for k, number in enumerate(drawn) if k not in set(few)]
    span = f"{most} rows" if min(others) == most else f"{min(others)} or {most} rows"
    said = f"{span} of each class"
    if few:
        named = ", ".join(f"{classes[k]!r} ({drawn[k]})" for k in few[:NAMED])
        more = f" and {len(few) - NAMED} more classes" if len(few) > NAMED else ""
        said += f", but all that there are of {named}{more}"
    if not min(others):
        said += f"; {others.count(0)} classes have none: a larger --size has some of each"
    return said
