"""Rules of the functions that layers are made of: embeddings, norms, convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from metaweight.engines.checks import EngineError
from metaweight.engines.ghost.output import FunctionRule, NoRuleError, Output, Parts, data
from metaweight.engines.ghost.shares import BagWeight, ConvWeight, EmbeddingWeight, Share
from metaweight.engines.ghost.sources import Source


def embedding(
    out: Output,
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Parts:
    """[...] int -> [..., D]."""
    _dense("F.embedding", max_norm, scale_grad_by_freq, sparse)
    length = len(weight.like)
    padding = -1 if padding_idx is None else padding_idx % length
    yield weight, lambda: EmbeddingWeight(data(input), out.delta.contiguous(), out.rows, length, padding)


def embedding_bag(
    out: Output,
    input: Tensor,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Parts:
    """[B, N] int, or [N] with offsets -> [B, D]."""
    if isinstance(per_sample_weights, Source) or not isinstance(weight, Source) or mode == "max":
        raise NoRuleError
    _dense("F.embedding_bag", max_norm, scale_grad_by_freq, sparse)
    bags, ids = len(out.delta), input.flatten()
    places = torch.arange(len(ids), device=ids.device)
    if input.dim() == 2:
        bag = places // max(input.shape[1], 1)
    else:
        bag = torch.searchsorted(data(offsets)[:bags].contiguous(), places, right=True) - 1
    share = torch.ones(len(ids), dtype=out.delta.dtype, device=ids.device)
    if per_sample_weights is not None:
        share = per_sample_weights.flatten().to(share.dtype)
    padding = -1 if padding_idx is None else padding_idx % len(weight.like)
    if padding >= 0:
        share = share.masked_fill(ids == padding, 0)
    if mode == "mean":
        counts = share.new_zeros(bags).index_add_(0, bag, (ids != padding).to(share.dtype))
        share = share / counts.clamp_min(1)[bag]
    yield weight, lambda: BagWeight(ids, bag, share, out.delta, out.rows, len(weight.like))


def layer_norm(
    out: Output,
    input: Any,
    normalized_shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Parts:
    """[..., *normalized_shape]."""
    x = data(input).to(out.delta.dtype)
    yield from _affine(out, lambda: F.layer_norm(x, normalized_shape, eps=eps), weight, bias, out.per_unit)


def rms_norm(
    out: Output, input: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None
) -> Parts:
    """[..., *normalized_shape]."""
    yield out.per_unit(
        F.rms_norm(data(input).to(out.delta.dtype), normalized_shape, eps=eps) * out.delta, weight
    )


def group_norm(
    out: Output, input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Parts:
    """[R, C, ...]."""
    x = data(input).to(out.delta.dtype)
    yield from _affine(out, lambda: F.group_norm(x, num_groups, eps=eps), weight, bias, out.channels)


def batch_norm(
    out: Output,
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Parts:
    """[R, C, ...] with the running statistics."""
    if training:
        raise EngineError("F.batch_norm couples the samples of a batch with training=True; use engine='auto'")
    x, mean, variance = data(input).to(out.delta.dtype), data(running_mean), data(running_var)
    yield from _affine(out, lambda: F.batch_norm(x, mean, variance, eps=eps), weight, bias, out.channels)


def instance_norm(
    out: Output,
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Parts:
    """[R, C, ...]."""
    x = data(input).to(out.delta.dtype)

    def normed() -> Tensor:
        if use_input_stats:
            return F.instance_norm(x, eps=eps)
        return F.batch_norm(x, data(running_mean), data(running_var), eps=eps)

    yield from _affine(out, normed, weight, bias, out.channels)


def _affine(
    out: Output,
    normed: Callable[[], Tensor],
    weight: Any,
    bias: Any,
    part: Callable[[Tensor, Source], tuple[Source, Callable[[], Share]]],
) -> Parts:
    """What a norm does last: weight * normed + bias, elementwise."""
    if isinstance(weight, Source):
        yield part(normed() * out.delta, weight)
    if isinstance(bias, Source):
        yield part(out.delta, bias)


def convolution(
    out: Output,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Parts:
    """[R, C, ...] -> [R, C', ...]."""
    yield from _conv(out, input, weight, bias, (stride, padding, dilation, False, 0, groups))


def transposed_convolution(
    out: Output,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Parts:
    """[R, C, ...] -> [R, C', ...], larger."""
    yield from _conv(out, input, weight, bias, (stride, padding, dilation, True, output_padding, groups))


def _dense(name: str, max_norm: float | None, scale_grad_by_freq: bool, sparse: bool) -> None:
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise EngineError(
            f"engine 'ghost' has no rule for {name} with max_norm, scale_grad_by_freq or sparse; "
            "leave these options out"
        )


def _conv(out: Output, input: Any, weight: Any, bias: Any, options: tuple[Any, ...]) -> Parts:
    x, size = data(input), out.delta.dim() - 2
    if isinstance(options[1], str):
        raise NoRuleError

    def each(value: Any) -> list[int]:
        values = [value] if isinstance(value, int) else list(value)
        return values * size if len(values) == 1 else values

    stride, padding, dilation, transposed, more, groups = options
    full = (each(stride), each(padding), each(dilation), transposed, each(more), groups)
    if x.dim() != out.delta.dim() or len(x) != len(out.delta):
        raise NoRuleError
    if isinstance(weight, Source):
        yield weight, lambda: ConvWeight(weight.like, x.to(out.delta.dtype), out.delta, out.rows, full)
    if isinstance(bias, Source):
        yield out.channels(out.delta, bias)


LAYER_FUNCTIONS: Mapping[Any, FunctionRule] = {
    F.embedding: embedding,
    F.embedding_bag: embedding_bag,
    F.layer_norm: layer_norm,
    F.rms_norm: rms_norm,
    F.group_norm: group_norm,
    F.batch_norm: batch_norm,
    F.instance_norm: instance_norm,
    F.conv1d: convolution,
    F.conv2d: convolution,
    F.conv3d: convolution,
    F.conv_transpose1d: transposed_convolution,
    F.conv_transpose2d: transposed_convolution,
    F.conv_transpose3d: transposed_convolution,
}
