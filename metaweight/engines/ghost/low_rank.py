"""Directions as products of two thin matrices: slopes along them cost a fraction of a matrix product."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LowRank:
    """``left`` @ ``right``, for a weight whose first dimension is its outputs."""

    left: Tensor
    """[out, rank], orthonormal columns."""
    right: Tensor
    """[rank, *rest]."""

    @property
    def dense(self) -> Tensor:
        """[out, *rest]."""
        return (self.left @ self.right.flatten(1)).view(len(self.left), *self.right.shape[1:])

    def to(self, dtype: torch.dtype) -> LowRank:
        """The same in another type."""
        return LowRank(self.left.to(dtype), self.right.to(dtype))


Direction = Tensor | LowRank


def dense(direction: Direction) -> Tensor:
    """As a tensor of the parameter's shape."""
    return direction.dense if isinstance(direction, LowRank) else direction


class Coarse(dict[str, Tensor]):
    """A direction by parameter name, some of it of low rank: ``factors`` has these, the values are dense."""

    def __init__(self, values: Mapping[str, Tensor], factors: Mapping[str, LowRank]) -> None:
        super().__init__({**values, **{name: factor.dense for name, factor in factors.items()}})
        self.factors = dict(factors)

    @property
    def leaves(self) -> dict[str, Direction]:
        """By name, of low rank where it is."""
        return {**self, **self.factors}


def pays(shape: torch.Size, rank: int, rows: int) -> bool:
    """Whether slopes of ``rows`` rows along a direction of this ``shape`` cost less in low rank."""
    out, rest = shape[0], shape[1:].numel()
    saved = rows * (1 - rank * (out + rest) / (out * rest))
    return saved > 5 * rank  # five products of the weight with ``rank`` columns make the factors


def truncated(direction: Tensor, rank: int) -> LowRank:
    """The part of a real ``direction`` [out, *rest] in the span that one subspace iteration finds, in float32
    at least.

    From a start that is fixed by the shape alone: the same direction has the same part, whatever came before.
    Halko, Martinsson and Tropp (2011), algorithm 4.4 with q = 1.
    """
    matrix = direction.flatten(1).to(torch.promote_types(direction.dtype, torch.float32))
    span = torch.linalg.qr(matrix @ _start(matrix.shape[1], rank, matrix.dtype, matrix.device))[0]
    rows = torch.linalg.qr(matrix.t() @ span)[0]
    left = torch.linalg.qr(matrix @ rows)[0]
    right = (left.t() @ matrix).view(-1, *direction.shape[1:])
    return LowRank(left, right).to(direction.dtype)


@functools.lru_cache(maxsize=64)
def _start(size: int, rank: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    draws = torch.Generator().manual_seed(size)
    return torch.randn(size, rank, generator=draws, dtype=torch.float64).to(device, dtype)
