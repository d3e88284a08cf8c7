"""Which rows of a tensor belong to which unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCKS, INTERLEAVED, SECOND = "blocks", "interleaved", "second"
"""Units in dimension 0, n rows together each; in dimension 0, each unit's rows U apart; in dimension 1."""


@dataclass(frozen=True)
class Rows:
    """Leading dimensions that flatten to (outer, units, anything): the place of U units in a tensor."""

    outer: int
    units: int

    @staticmethod
    def of(layout: str, shape: Sequence[int], units: int) -> Rows:
        """Of a tensor of ``shape``, which ``layout`` fits."""
        return Rows(
            {BLOCKS: 1, INTERLEAVED: shape[0] // units, SECOND: shape[0]}[layout] if shape else 1, units
        )

    def spread(self, scale: Tensor, shape: Sequence[int]) -> Tensor:
        """[U] -> what multiplies each unit's rows in a tensor of ``shape``."""
        block, rest = self.outer * self.units, len(shape) - 1
        if not shape:
            return scale.view(())
        if shape[0] % block:
            return scale.view(1, -1, *[1] * (rest - 1))
        rows = scale.repeat_interleave(shape[0] // block)
        return (rows if self.outer == 1 else rows.repeat(self.outer)).view(-1, *[1] * rest)

    def scaled(self, values: Tensor, scale: Tensor) -> Tensor:
        """``values`` with each unit's rows times its ``scale`` [U]."""
        return values * self.spread(scale.to(values.dtype), values.shape)

    def sums(self, terms: Tensor) -> Tensor:
        """What is each unit's, summed: [U]."""
        return summed(terms.reshape(self.outer, self.units, -1), (0, 2))

    def per_unit(self, terms: Tensor, shape: Sequence[int]) -> Tensor:
        """[..., *shape] -> the sum for each unit [U, *shape]."""
        return summed(terms.reshape(self.outer, self.units, -1, *shape), (0, 2))


def layouts(shape: Sequence[int], units: int) -> list[str]:
    """How a tensor of ``shape`` can hold the rows of ``units`` units, the likeliest first."""
    if units == 1:
        return [BLOCKS]
    possible = []
    if shape and shape[0] % units == 0:
        possible += [BLOCKS] if shape[0] == units else [BLOCKS, INTERLEAVED]
    if len(shape) > 1 and shape[1] == units:
        possible.append(SECOND)
    return possible


def misfit(layout: str, delta: Tensor, other: Tensor, ramp: Tensor) -> float:
    """How far ``other``, of the losses times ``ramp`` [U], is from ``delta``, of the losses, times it."""
    expected = Rows.of(layout, delta.shape, len(ramp)).scaled(delta, ramp)
    norm = torch.linalg.vector_norm(other)
    return float(torch.linalg.vector_norm(other - expected) / norm) if bool(norm > 0) else 0.0


def summed(terms: Tensor, dims: int | tuple[int, ...]) -> Tensor:
    """A sum in float32 at least."""
    # under autocast a sum over a sentence in bfloat16 keeps two digits
    return terms.sum(dims, dtype=torch.promote_types(terms.dtype, torch.float32))
