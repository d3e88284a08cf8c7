"""What one call of a torch function gives to tensors among its arguments, where that is cheap to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

from metaweight.engines.ghost.layer_functions import LAYER_FUNCTIONS
from metaweight.engines.ghost.output import FunctionRule, NoRuleError, Output, Parts, data
from metaweight.engines.ghost.rows import SECOND
from metaweight.engines.ghost.shares import LinearWeight
from metaweight.engines.ghost.sources import Source


def linear(out: Output, input: Any, weight: Any, bias: Any = None) -> Parts:
    """[..., in] -> [..., out]."""
    delta, x = out.delta, data(input)
    flat = delta.reshape(-1, delta.shape[-1])
    if isinstance(weight, Source):
        yield weight, lambda: LinearWeight(x.reshape(-1, x.shape[-1]).to(delta.dtype), flat, out.rows)
    if isinstance(bias, Source):
        yield out.elementwise(delta, bias)


def matmul(out: Output, input: Any, other: Any) -> Parts:
    """[..., in] @ [in, out]."""
    delta, x = out.delta, data(input)
    if not isinstance(other, Source) or other.like.dim() != 2 or x.dim() < 2:
        raise NoRuleError
    flat = delta.reshape(-1, delta.shape[-1])
    yield (
        other,
        lambda: LinearWeight(x.reshape(-1, x.shape[-1]).to(delta.dtype), flat, out.rows, transposed=True),
    )


def addmm(out: Output, input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Parts:
    """input + mat1 @ mat2."""
    if beta != 1 or alpha != 1:
        raise NoRuleError
    if isinstance(mat2, Source):
        yield from matmul(out, mat1, mat2)
    else:
        data(mat1)
    if isinstance(input, Source):
        yield out.elementwise(out.delta, input)


def add(out: Output, input: Any, other: Any, *, alpha: float = 1) -> Parts:
    """input + alpha * other."""
    if isinstance(input, Source):
        yield out.elementwise(out.delta, input)
    if isinstance(other, Source):
        yield out.elementwise(out.delta if alpha == 1 else out.delta * alpha, other)


def sub(out: Output, input: Any, other: Any, *, alpha: float = 1) -> Parts:
    """input - alpha * other."""
    yield from add(out, input, other, alpha=-alpha)


def mul(out: Output, input: Any, other: Any) -> Parts:
    """input * other."""
    if isinstance(input, Source):
        input, other = other, input
    yield out.elementwise(out.delta * data(input), other)


def div(out: Output, input: Any, other: Any) -> Parts:
    """input / other."""
    if not isinstance(input, Source):
        raise NoRuleError
    yield out.elementwise(out.delta / data(other), input)


def cat(out: Output, tensors: Any, dim: int = 0) -> Parts:
    """Along any dimension but the units'."""
    dim, start = dim % out.delta.dim(), 0
    if dim == (1 if out.layout == SECOND else 0):
        raise NoRuleError
    for tensor in tensors:
        value = tensor.like if isinstance(tensor, Source) else tensor
        if value.dim() != out.delta.dim():  # torch takes an empty vector with anything
            raise NoRuleError
        if isinstance(tensor, Source):
            yield out.elementwise(out.delta.narrow(dim, start, value.shape[dim]), tensor)
        start += value.shape[dim]


def _filed() -> Mapping[Any, FunctionRule]:
    named = {rule.__name__: rule for rule in (linear, matmul, addmm, add, sub, mul, div, cat)}
    named |= {"mm": matmul, "multiply": mul, "divide": div, "true_divide": div, "subtract": sub}
    named |= {"concat": cat, "concatenate": cat}
    owners = (torch, F, torch._C.TensorBase)
    return {
        vars(owner)[name]: rule for name, rule in named.items() for owner in owners if name in vars(owner)
    }


FUNCTION_RULES: Mapping[Any, FunctionRule] = {**_filed(), **LAYER_FUNCTIONS}
VALUELESS = frozenset(function for function, rule in FUNCTION_RULES.items() if rule in (add, sub))
"""Functions whose rules do not look at the batch's values."""
