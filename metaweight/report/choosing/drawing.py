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

    By default at most half of each group is drawn and never all of one, for not every teacher trains on
    these too.
    Raises ValueError for a size below 1 or beyond that.
    """
    there = torch.bincount(groups, minlength=count)
    most = there // 2 if size is None else (there - 1).clamp(min=0)
    wanted = min(max(SIZE, OF_EACH * count), int(most.sum())) if size is None else size
    if not 1 <= wanted <= int(most.sum()):
        asked = "too few" if size is None else f"asked for {size:,} (--size)"
        each = "one of each class stays" if count > 1 else "one stays"
        raise ValueError(
            f"{place}: of {len(groups):,} rows {int(most.sum()):,} can be drawn, as {each} to train on; "
            f"{asked}"
        )
    generator = derive(seed, "trusted")
    return draw_per_class(groups, even_counts(most, wanted, generator=generator), generator=generator)


def said_of_each(groups: Tensor, picked: Tensor, classes: Sequence[str]) -> str:
    """How many were ``picked`` of each class, and of which only few."""
    there = torch.bincount(groups, minlength=len(classes)).tolist()
    drawn = torch.bincount(groups[picked], minlength=len(classes)).tolist()
    most = max(drawn)
    few = [k for k, number in enumerate(drawn) if number < most - 1 or number == 0]
    least = min(number for number in drawn if number >= max(most - 1, 1))
    said = f"{most} rows of each class" if least == most else f"{least} or {most} rows of each class"
    if few:
        named = ", ".join(f"{drawn[k]} of the {there[k]:,} of {classes[k]!r}" for k in few[:NAMED])
        more = f" and few or none of {len(few) - NAMED} more classes" if len(few) > NAMED else ""
        said += f", but {named}{more}"
    return said
