"""What one call of a layer gives to its parameters' gradients, from its input and its output's gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from metaweight.core.shards import is_sharded
from metaweight.engines.ghost.rows import Rows, summed
from metaweight.engines.ghost.shares import ConvWeight, EmbeddingWeight, LinearWeight, PerUnit, Slots
from metaweight.student.sharded import kind_of

Rule = Callable[[Any, Tensor, Tensor, Rows], Slots]
"""(layer, input, gradient of the summed loss in the output, rows) -> each slot with a way to its share."""
OwnRule = Callable[[Any, Tensor, Tensor, int], Slots]
"""A user's: the units' rows lie in blocks along dimension 0."""


def linear(layer: nn.Linear, input: Tensor, delta: Tensor, rows: Rows) -> Slots:
    """[..., in] -> [..., out]."""
    flat = delta.reshape(-1, layer.out_features)
    yield "weight", lambda: LinearWeight(input.reshape(-1, layer.in_features).to(delta.dtype), flat, rows)
    yield "bias", lambda: PerUnit(rows.per_unit(flat, (layer.out_features,)))


def conv(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, input: Tensor, delta: Tensor, rows: Rows) -> Slots:
    """[R, C, ...] -> [R, C', ...]."""

    def weight() -> ConvWeight:
        x, pads = input.to(delta.dtype), layer._reversed_padding_repeated_twice
        padding = list(pads[-2::-2])  # the last dimension comes first there
        if layer.padding_mode != "zeros" or padding != list(pads[::-2]):
            mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
            x, padding = F.pad(x, tuple(pads), mode=mode), [0] * len(padding)
        zeros = [0] * len(padding)
        options = (list(layer.stride), padding, list(layer.dilation), False, zeros, layer.groups)
        like = layer.weight.detach()
        if is_sharded(like):  # only its shape is asked for
            like = x.new_empty(like.shape)
        return ConvWeight(like, x, delta, rows, options)

    yield "weight", weight
    yield "bias", lambda: PerUnit(channels(delta, rows))


def embedding(layer: nn.Embedding, ids: Tensor, delta: Tensor, rows: Rows) -> Slots:
    """[...] int -> [..., D]."""
    padding = -1 if layer.padding_idx is None else layer.padding_idx
    yield (
        "weight",
        lambda: EmbeddingWeight(ids, delta.contiguous(), rows, layer.num_embeddings, padding),
    )


def layer_norm(layer: nn.LayerNorm, input: Tensor, delta: Tensor, rows: Rows) -> Slots:
    """[..., *normalized_shape]."""
    shape = layer.normalized_shape

    def weight() -> PerUnit:
        return PerUnit(
            rows.per_unit(F.layer_norm(input.to(delta.dtype), shape, eps=layer.eps) * delta, shape)
        )

    yield "weight", weight
    yield "bias", lambda: PerUnit(rows.per_unit(delta, shape))


def rms_norm(layer: nn.RMSNorm, input: Tensor, delta: Tensor, rows: Rows) -> Slots:
    """[..., *normalized_shape]."""
    shape = layer.normalized_shape

    def weight() -> PerUnit:
        return PerUnit(rows.per_unit(F.rms_norm(input.to(delta.dtype), shape, eps=layer.eps) * delta, shape))

    yield "weight", weight


def group_norm(layer: nn.GroupNorm, input: Tensor, delta: Tensor, rows: Rows) -> Slots:
    """[R, C, ...]."""

    def weight() -> PerUnit:
        normed = F.group_norm(input.to(delta.dtype), layer.num_groups, eps=layer.eps)
        return PerUnit(channels(normed * delta, rows))

    yield "weight", weight
    yield "bias", lambda: PerUnit(channels(delta, rows))


def batch_norm(layer: nn.BatchNorm2d, input: Tensor, delta: Tensor, rows: Rows) -> Slots:
    """[R, C, ...] with the running statistics: a fixed scale and shift."""

    def weight() -> PerUnit:
        normed = F.batch_norm(input.to(delta.dtype), layer.running_mean, layer.running_var, eps=layer.eps)
        return PerUnit(channels(normed * delta, rows))

    yield "weight", weight
    yield "bias", lambda: PerUnit(channels(delta, rows))


RULES: Mapping[type[nn.Module], Rule] = {
    nn.Linear: linear,
    nn.Conv1d: conv,
    nn.Conv2d: conv,
    nn.Conv3d: conv,
    nn.Embedding: embedding,
    nn.LayerNorm: layer_norm,
    nn.RMSNorm: rms_norm,
    nn.GroupNorm: group_norm,
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    nn.BatchNorm3d: batch_norm,
}
"""Layers that are affine in their parameters, by their exact class: a subclass may compute another thing."""
OWN_RULES: dict[type[nn.Module], OwnRule] = {}
"""What users have registered; it goes first."""


def register_layer_rule(layer: type[nn.Module]) -> Callable[[OwnRule], OwnRule]:
    """Decorator that files engine ``ghost``'s rule for the calls of ``layer``, by its exact class.

    The rule gets (layer, input, delta, units): the input, detached; delta, the gradient of the summed
    losses in the output; and the number U of units.  The layer takes one tensor and gives one, both with
    the batch in dimension 0, where unit i has the i-th of U blocks of rows.  For each parameter inside the
    layer, by its name there, it yields a function that makes its share: ``PerUnit(rows [U, *shape])`` for
    small ones, ``LinearWeight`` for matrices, or anything with ``gradient(scale)`` and ``slopes(u)``.

        @register_layer_rule(Scale)
        def scale(layer, input, delta, units):
            yield "factor", lambda: PerUnit((input * delta).reshape(units, -1, layer.width).sum(1))

    Without a rule the layer's operations are followed one by one, which costs more and is as exact.
    ``metaweight.testing.check_layer_rule`` proves a rule.  Raises TypeError for what is no module class,
    ValueError where there is one.
    """
    if not (isinstance(layer, type) and issubclass(layer, nn.Module)):
        raise TypeError(
            f"a rule is for a class of modules, got {layer!r}; write register_layer_rule(MyLayer)"
        )

    def file(rule: OwnRule) -> OwnRule:
        if layer in OWN_RULES or layer in RULES:
            raise ValueError(f"engine 'ghost' has a rule for {layer.__name__} already")
        OWN_RULES[layer] = rule
        return rule

    return file


def has_rule(layer: nn.Module) -> bool:
    """Whether ``layer`` computes what the rule of its class says."""
    if "forward" in vars(layer):
        return False
    if kind_of(layer) in OWN_RULES:
        return True
    if kind_of(layer) not in RULES:
        return False
    return all(
        p is None or (key in ("weight", "bias") and not p.is_complex())
        for key, p in layer._parameters.items()
    )


def unsupported(layer: nn.Module) -> str | None:
    """The option of an embedding whose gradient is no sum over samples, or no dense tensor."""
    if not isinstance(layer, nn.Embedding | nn.EmbeddingBag) or not layer.weight.requires_grad:
        return None
    if layer.max_norm is not None:
        return "max_norm"
    return "scale_grad_by_freq" if layer.scale_grad_by_freq else "sparse" if layer.sparse else None


def channels(terms: Tensor, rows: Rows) -> Tensor:
    """Sums over all but the channels: [R, C, ...] -> [U, C]."""
    return rows.per_unit(summed(terms.flatten(2), 2) if terms.dim() > 2 else terms, terms.shape[1:2])
