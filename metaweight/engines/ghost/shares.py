"""What one use of a tensor gives to its gradient, kept so that any weights and any direction may follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from metaweight.engines.ghost.low_rank import LowRank
from metaweight.engines.ghost.rows import SECOND, Rows, summed


class Share(Protocol):
    """One use's share in the gradients of U units with respect to one tensor."""

    def gradient(self, scale: Tensor) -> Tensor:
        """sum_i scale_i grad loss_i, of the tensor's shape, for ``scale`` [U]."""
        ...

    def slopes(self, u: Tensor) -> Tensor:
        """<u, grad loss_i> for each unit [U]."""
        ...


Slots = Iterator[tuple[str, Callable[[], Share]]]
"""Each parameter's name in its layer, with a way to its share."""


@dataclass(frozen=True)
class PerUnit:
    """Gradients that are small enough to be had for each unit."""

    rows: Tensor
    """[U, *shape]."""

    def gradient(self, scale: Tensor) -> Tensor:
        """See ``Share``."""
        total = scale.to(self.rows.dtype) @ self.rows.reshape(len(self.rows), -1)
        return total.view(self.rows.shape[1:])

    def slopes(self, u: Tensor) -> Tensor:
        """See ``Share``."""
        return self.rows.reshape(len(self.rows), -1) @ u.flatten().to(self.rows.dtype)


@dataclass(frozen=True)
class OfRows:
    """Gradients of a tensor that has rows of its own for each unit."""

    terms: Tensor
    """Of the tensor's shape, but for leading dimensions of 1."""
    shape: torch.Size
    rows: Rows

    def gradient(self, scale: Tensor) -> Tensor:
        """See ``Share``."""
        return self.rows.scaled(self.terms, scale).view(self.shape)

    def slopes(self, u: Tensor) -> Tensor:
        """See ``Share``."""
        return self.rows.sums(self.terms * u.to(self.terms.dtype).view(self.terms.shape))


@dataclass(frozen=True)
class LinearWeight:
    """grad_i = delta_i^T a_i; of its two sides the narrower one carries whatever is done elementwise."""

    input: Tensor
    """[R, in] for R = U * positions rows."""
    delta: Tensor
    """[R, out], the gradient of the summed losses."""
    rows: Rows
    transposed: bool = False
    """Whether the weight is [in, out]."""

    def gradient(self, scale: Tensor) -> Tensor:
        """See ``Share``."""
        if self._narrows:
            total = self.rows.scaled(self.delta, scale).t() @ self.input
        else:
            total = self.delta.t() @ self.rows.scaled(self.input, scale)
        return total.t() if self.transposed else total

    def slopes(self, u: Tensor) -> Tensor:
        """See ``Share``."""
        u = u.to(self.delta.dtype)
        u = u.t() if self.transposed else u
        return self.rows.sums(
            self.input @ u.t() * self.delta if self._narrows else self.delta @ u * self.input
        )

    @property
    def products(self) -> int:
        """Rows that the weight multiplies."""
        return len(self.delta)

    def along(self, u: LowRank) -> Tensor:
        """``slopes`` of its dense form."""
        factors = u.to(self.delta.dtype)
        left, right = factors.left, factors.right.t()
        outputs, inputs = (right, left) if self.transposed else (left, right)
        return self.rows.sums(self.delta @ outputs * (self.input @ inputs))

    @property
    def _narrows(self) -> bool:
        return self.delta.shape[1] < self.input.shape[1]


@dataclass(frozen=True)
class ConvWeight:
    """The weight of a convolution [R, C, ...] -> [R, C', ...], or of a transposed one."""

    weight: Tensor
    input: Tensor
    delta: Tensor
    rows: Rows
    options: tuple[list[int], list[int], list[int], bool, list[int], int]
    """Stride, padding, dilation, whether transposed, output padding, groups."""

    def gradient(self, scale: Tensor) -> Tensor:
        """See ``Share``."""
        input, delta = self.input, self.delta
        if input.numel() < delta.numel():
            input = self.rows.scaled(input, scale)
        else:
            delta = self.rows.scaled(delta, scale)
        weight = self.weight.to(delta.dtype)
        gradients: Tensor = torch.ops.aten.convolution_backward(
            delta, input, weight, None, *self.options, [False, True, False]
        )[1]
        return gradients

    def slopes(self, u: Tensor) -> Tensor:
        """See ``Share``."""
        outputs = torch.ops.aten.convolution(self.input, u.to(self.delta.dtype), None, *self.options)
        return self.rows.sums(summed(outputs * self.delta, tuple(range(1, outputs.dim()))))

    @property
    def products(self) -> int:
        """Positions at which the whole weight is multiplied; 0 in groups, and transposed."""
        transposed, groups = self.options[3], self.options[5]
        return 0 if transposed or groups > 1 else self.delta.numel() // self.delta.shape[1]

    def along(self, u: LowRank) -> Tensor:
        """``slopes`` of its dense form, where ``products`` are not 0."""
        factors = u.to(self.delta.dtype)
        images = torch.ops.aten.convolution(self.input, factors.right, None, *self.options)
        terms = torch.einsum("oc,no...->nc...", factors.left, self.delta) * images
        return self.rows.sums(summed(terms, tuple(range(1, terms.dim()))))


@dataclass(frozen=True)
class EmbeddingWeight:
    """Rows of a table; the one at ``padding`` has no gradient, -1 for none."""

    ids: Tensor
    delta: Tensor
    rows: Rows
    length: int
    padding: int

    def gradient(self, scale: Tensor) -> Tensor:
        """See ``Share``."""
        total: Tensor = torch.ops.aten.embedding_dense_backward(
            self.rows.scaled(self.delta, scale), self.ids, self.length, self.padding, False
        )
        return total

    def slopes(self, u: Tensor) -> Tensor:
        """See ``Share``."""
        terms = torch.nn.functional.embedding(self.ids, u) * self.delta
        if self.padding >= 0:
            terms.masked_fill_((self.ids == self.padding).unsqueeze(-1), 0)
        return self.rows.sums(terms)


@dataclass(frozen=True)
class BagWeight:
    """A table whose rows are summed by bags."""

    ids: Tensor
    """[N]."""
    bag: Tensor
    """[N], each id's."""
    share: Tensor
    """[N], its factor in the bag."""
    delta: Tensor
    """[B, D]."""
    rows: Rows
    length: int

    def gradient(self, scale: Tensor) -> Tensor:
        """See ``Share``."""
        terms = self.rows.scaled(self.delta, scale)[self.bag] * self.share[:, None]
        return terms.new_zeros(self.length, terms.shape[1]).index_add_(0, self.ids, terms)

    def slopes(self, u: Tensor) -> Tensor:
        """See ``Share``."""
        terms = (u.to(self.delta.dtype)[self.ids] * self.delta[self.bag]).sum(1) * self.share
        return self.rows.sums(terms.new_zeros(len(self.delta)).index_add_(0, self.bag, terms))


def elementwise(terms: Tensor, shape: torch.Size, layout: str, units: int) -> Share:
    """Of a tensor of ``shape`` that was broadcast against the batch; ``terms``: d loss / d its copies."""
    copied = torch.Size([1] * (terms.dim() - len(shape)) + list(shape))
    repeated = tuple(d for d, (n, m) in enumerate(zip(copied, terms.shape, strict=True)) if n == 1 != m)
    if units == 1:
        return PerUnit((summed(terms, repeated) if repeated else terms).reshape(1, *shape))
    place = 1 if layout == SECOND else 0
    if copied[place] != 1 or terms.shape[place] == 1:
        own = (summed(terms, repeated) if repeated else terms).reshape(copied)
        return OfRows(own, shape, Rows.of(layout, copied, units))
    # the units first, then what else is repeated
    if layout == SECOND:
        first, rest = terms.transpose(0, 1), [1] if 0 in repeated else []
    else:
        rows = Rows.of(layout, terms.shape, units)
        first = terms.reshape(rows.outer, units, -1, *terms.shape[1:]).movedim(1, 0).flatten(1, 2)
        rest = [1]
        repeated = tuple(d + 1 for d in repeated)
    rest += [d for d in repeated if d > 1]
    return PerUnit((summed(first, tuple(rest)) if rest else first).reshape(units, *shape))
