"""Rows of large tensors, some at a time: what is made of all at once would be as large again, and more."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

LARGE = 2**23
"""Numbers in a tensor that is gone through in pieces; of smaller ones copies do not matter."""
PIECE = 2**20
"""Numbers in a piece on a CPU, whose cache holds them; elsewhere ``LAUNCHES`` as many."""
LAUNCHES = 16


def is_large(count: int) -> bool:
    """Whether a tensor of so many numbers is to be gone through in pieces, or not made at all."""
    return count > LARGE


def pieces(count: int, values: Tensor) -> Iterator[slice]:
    """0..``count``-1 in parts, of which each stands for rows of ``values`` [R, C, ...]; at least one."""
    size = PIECE if values.device.type == "cpu" else LAUNCHES * PIECE
    step = max(size // max(values[:1].numel(), 1), 1)
    if values.dim() == 2:
        # a kernel may add up a row in an order that its address asks for, which 16 rows leave as it is
        step = max(step // 16, 1) * 16
    for first in range(0, max(count, 1), step):
        yield slice(first, first + step)
