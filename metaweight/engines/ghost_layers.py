"""What one call of a layer gives to its parameters' gradients, from its input and its output's gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOTS = ("weight", "bias")


class Share(Protocol):
    """One call's share in the gradients of U units with respect to one parameter."""

    def gradient(self, scale: Tensor) -> Tensor:
        """sum_i scale_i grad loss_i, of the parameter's shape, for ``scale`` [U]."""
        ...

    def slopes(self, u: Tensor) -> Tensor:
        """<u, grad loss_i> for each unit [U]."""
        ...


Slots = Iterator[tuple[str, Callable[[], Share]]]
Rule = Callable[[Any, Tensor, Tensor, int], Slots]
"""(layer, input, gradient of the summed loss in the output, U) -> each slot with a way to its share."""


@dataclass(frozen=True)
class PerUnit:
    """Gradients of a parameter that acts elementwise: small enough to be had for each unit."""

    rows: Tensor
    """[U, *shape]."""

    def gradient(self, scale: Tensor) -> Tensor:
        total = scale.to(self.rows.dtype) @ self.rows.flatten(1)
        return total.view(self.rows.shape[1:])

    def slopes(self, u: Tensor) -> Tensor:
        return self.rows.flatten(1) @ u.flatten().to(self.rows.dtype)


@dataclass(frozen=True)
class LinearWeight:
    """grad_i = delta_i^T a_i; of its two sides the narrower one carries whatever is done elementwise."""

    input: Tensor
    """[R, in] for R = U * positions rows."""
    delta: Tensor
    """[R, out]."""
    units: int

    def gradient(self, scale: Tensor) -> Tensor:
        rows = _each_row(scale, self.delta)
        if self._narrows:
            return (self.delta * rows).t() @ self.input
        return self.delta.t() @ (self.input * rows)

    def slopes(self, u: Tensor) -> Tensor:
        u = u.to(self.delta.dtype)
        terms = self.input @ u.t() * self.delta if self._narrows else self.delta @ u * self.input
        return _summed(terms.view(self.units, -1), 1)

    @property
    def _narrows(self) -> bool:
        return self.delta.shape[1] < self.input.shape[1]


@dataclass(frozen=True)
class ConvWeight:
    """The weight of a two-dimensional convolution of [R, C, H, W]."""

    layer: nn.Conv2d
    input: Tensor
    """Padded already where zeros on all sides alike are not what the layer pads with."""
    delta: Tensor
    padding: tuple[int, ...]
    units: int

    def gradient(self, scale: Tensor) -> Tensor:
        layer, input, delta = self.layer, self.input, self.delta
        rows = _each_row(scale, delta)
        if input.numel() < delta.numel():
            input = input * rows
        else:
            delta = delta * rows
        weight = layer.weight.detach().to(delta.dtype)
        options = (layer.stride, self.padding, layer.dilation, False, [0, 0], layer.groups)
        gradients: Tensor = torch.ops.aten.convolution_backward(
            delta, input, weight, None, *options, [False, True, False]
        )[1]
        return gradients

    def slopes(self, u: Tensor) -> Tensor:
        layer, u = self.layer, u.to(self.delta.dtype)
        outputs = F.conv2d(self.input, u, None, layer.stride, self.padding, layer.dilation, layer.groups)
        return _summed(outputs * self.delta, (1, 2, 3)).view(self.units, -1).sum(1)


@dataclass(frozen=True)
class EmbeddingWeight:
    """Rows of a table; the one at ``padding_idx`` has no gradient."""

    layer: nn.Embedding
    ids: Tensor
    delta: Tensor
    units: int

    def gradient(self, scale: Tensor) -> Tensor:
        padding = -1 if self.layer.padding_idx is None else self.layer.padding_idx
        found: Tensor = torch.ops.aten.embedding_dense_backward(
            self.delta * _each_row(scale, self.delta), self.ids, self.layer.num_embeddings, padding, False
        )
        return found

    def slopes(self, u: Tensor) -> Tensor:
        terms = F.embedding(self.ids, u) * self.delta
        if self.layer.padding_idx is not None:
            terms.masked_fill_((self.ids == self.layer.padding_idx).unsqueeze(-1), 0)
        return _summed(terms.view(self.units, -1), 1)


def linear(layer: nn.Linear, input: Tensor, delta: Tensor, units: int) -> Slots:
    """[..., in] -> [..., out]."""
    rows = delta.reshape(-1, layer.out_features)
    yield "weight", lambda: LinearWeight(input.reshape(-1, layer.in_features).to(delta.dtype), rows, units)
    yield "bias", lambda: PerUnit(_summed(rows.view(units, -1, layer.out_features), 1))


def conv2d(layer: nn.Conv2d, input: Tensor, delta: Tensor, units: int) -> Slots:
    """[R, C, H, W] -> [R, C', H', W']."""

    def weight() -> ConvWeight:
        x, (left, right, top, bottom) = input.to(delta.dtype), layer._reversed_padding_repeated_twice
        if layer.padding_mode == "zeros" and (left, top) == (right, bottom):
            return ConvWeight(layer, x, delta, (top, left), units)
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        return ConvWeight(layer, F.pad(x, (left, right, top, bottom), mode=mode), delta, (0, 0), units)

    yield "weight", weight
    yield "bias", lambda: PerUnit(_channels(delta, units))


def embedding(layer: nn.Embedding, ids: Tensor, delta: Tensor, units: int) -> Slots:
    """[R, ...] int -> [R, ..., D]."""
    yield "weight", lambda: EmbeddingWeight(layer, ids, delta.contiguous(), units)


def layer_norm(layer: nn.LayerNorm, input: Tensor, delta: Tensor, units: int) -> Slots:
    """[R, ..., *normalized_shape]."""
    shape = layer.normalized_shape

    def rows(terms: Tensor) -> PerUnit:
        return PerUnit(_summed(terms.reshape(units, -1, *shape), 1))

    yield "weight", lambda: rows(F.layer_norm(input.to(delta.dtype), shape, eps=layer.eps) * delta)
    yield "bias", lambda: rows(delta)


def group_norm(layer: nn.GroupNorm, input: Tensor, delta: Tensor, units: int) -> Slots:
    """[R, C, ...]."""
    yield (
        "weight",
        lambda: PerUnit(
            _channels(F.group_norm(input.to(delta.dtype), layer.num_groups, eps=layer.eps) * delta, units)
        ),
    )
    yield "bias", lambda: PerUnit(_channels(delta, units))


def batch_norm(layer: nn.BatchNorm2d, input: Tensor, delta: Tensor, units: int) -> Slots:
    """[R, C, ...] with the running statistics: a fixed scale and shift."""
    mean, variance = layer.running_mean, layer.running_var
    yield (
        "weight",
        lambda: PerUnit(
            _channels(F.batch_norm(input.to(delta.dtype), mean, variance, eps=layer.eps) * delta, units)
        ),
    )
    yield "bias", lambda: PerUnit(_channels(delta, units))


RULES: Mapping[type[nn.Module], Rule] = {
    nn.Linear: linear,
    nn.Conv2d: conv2d,
    nn.Embedding: embedding,
    nn.LayerNorm: layer_norm,
    nn.GroupNorm: group_norm,
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
}
"""Layers that are affine in their parameters, by their exact class: a subclass may compute another thing."""


def has_rule(layer: nn.Module) -> bool:
    """Whether ``layer`` computes what the rule of its class says."""
    if isinstance(layer, nn.Embedding) and (
        layer.sparse or layer.scale_grad_by_freq or layer.max_norm is not None
    ):
        return False
    return type(layer) in RULES and "forward" not in vars(layer)


def couples(layer: nn.Module) -> bool:
    """Whether one sample's output depends on the others in its batch, as far as a class can tell."""
    normalises = isinstance(layer, nn.modules.batchnorm._BatchNorm)
    return normalises and (layer.training or layer.running_mean is None)


def _channels(terms: Tensor, units: int) -> Tensor:
    """Sums over all but the channels: [U * n, C, ...] -> [U, C]."""
    return _summed(terms.reshape(units, -1, terms.shape[1], terms[0, 0].numel()), (1, 3))


def _summed(terms: Tensor, dims: int | tuple[int, ...]) -> Tensor:
    # under autocast a sum over a sentence in bfloat16 keeps two digits
    return terms.sum(dims, dtype=torch.promote_types(terms.dtype, torch.float32))


def _each_row(scale: Tensor, like: Tensor) -> Tensor:
    """[U] -> [U * n, 1, ...], to multiply with ``like`` [U * n, ...]."""
    rows = scale.to(like.dtype).repeat_interleave(len(like) // len(scale))
    return rows.view(-1, *[1] * (like.dim() - 1))
