"""A call that keeps only what goes in, differentiable twice: it runs again for each derivative."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from metaweight.core.randomness import RandomState, differentiable
from metaweight.influence.norms import Observed

Tensors = Sequence[Tensor | None]
_HELD = object()
"""Stands for a tensor in what holds it."""


@dataclass(frozen=True)
class Kept:
    """What is called: ``body``, with the parameters and buffers of ``parts``."""

    body: Callable[..., Any]
    parts: tuple[nn.Module, ...]
    norms: Mapping[str, _BatchNorm]
    """Those of the parts whose batches' statistics are asked for."""
    device: torch.device
    check: Callable[[Tensor], None]

    def parameters(self) -> list[Tensor]:
        """Those that are trained, each once."""
        own = (p for part in self.parts for p in part._parameters.values() if p is not None)
        return list({id(p): p for p in own if p.requires_grad}.values())


class Call:
    """One call of ``kept``, with what it depends on beside its inputs: generators and autocast."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.parameters = kept.parameters()
        self.random = RandomState.of(kept.device)
        kind = kept.device.type
        self.cast = (kind, torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else None
        self.asked: Any = None
        self.given: Any = None
        self.inputs = self.outputs = 0
        """Tensors that go in, and that come out before the statistics of norms."""
        self.noted: list[str] = []
        """Norm of each two statistics."""

    def run(self, args: Sequence[Any], kwargs: Mapping[str, Any], observed: Observed) -> Any:
        """What the call gives; ``observed`` takes note of what its norms have seen."""
        tensors: list[Tensor] = []
        self.asked = _emptied((tuple(args), dict(kwargs)), tensors)
        self.inputs = len(tensors)
        found = list(_Run.apply(self, *tensors, *self.parameters))  # type: ignore[no-untyped-call]
        statistics = found[self.outputs :]
        for number, name in enumerate(self.noted):
            observed.note(name, (statistics[2 * number], statistics[2 * number + 1]))
        return _filled(self.given, iter(found[: self.outputs]))

    def first(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Without a graph."""
        given, seen = self._body(inputs)
        outputs: list[Tensor] = []
        self.given = _emptied(given, outputs)
        self.outputs = len(outputs)
        self.noted = [name for name, calls in seen.items() for _ in calls]
        return (*outputs, *(value for calls in seen.values() for pair in calls for value in pair))

    def again(self, inputs: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """(what comes out, what it is differentiated by), with a graph.

        Running statistics move once more, which no training pass reads.
        """
        leaves = [value.detach().requires_grad_(value.requires_grad) for value in inputs]
        cast = nullcontext() if self.cast is None else torch.autocast(*self.cast, cache_enabled=False)
        with torch.enable_grad(), differentiable(), cast:
            self.random.restore(self.kept.device)
            given, seen = self._body(leaves)
        outputs: list[Tensor] = []
        _emptied(given, outputs)
        outputs += [value for calls in seen.values() for pair in calls for value in pair]
        return outputs, [*leaves, *self.parameters]

    def _body(self, inputs: Sequence[Tensor]) -> tuple[Any, dict[str, list[tuple[Tensor, Tensor]]]]:
        args, kwargs = _filled(self.asked, iter(inputs))
        own = Observed(self.kept.norms)
        with own.watching():
            return self.kept.body(*args, **kwargs), own.seen


class _Run(Function):
    """The call; by what it gives, ``_Back``."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        found = call.first(tensors[: call.inputs])
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors[: call.inputs])
        ctx.mark_non_differentiable(*(value for value in found if not value.is_floating_point()))
        return found

    @staticmethod
    def backward(ctx: Any, *pulls: Tensor | None) -> tuple[Tensor | None, ...]:
        parameters = ctx.call.parameters
        values = (*pulls, *ctx.saved_tensors, *parameters)
        return (None, *_Back.apply(ctx.call, len(pulls), *values))  # type: ignore[no-untyped-call]


class _Back(Function):
    """What a loss says of all that goes into a call, from what it says of what comes out."""

    @staticmethod
    def forward(ctx: Any, call: Call, count: int, *values: Tensor | None) -> tuple[Tensor | None, ...]:
        pulls, inputs = values[:count], _there(values[count : count + call.inputs])
        ctx.call, ctx.count = call, count
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*pulls, *inputs)
        outputs, leaves = call.again(inputs)
        return tuple(_gradient(_pairs(outputs, pulls), leaves))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *bent: Tensor | None) -> tuple[Tensor | None, ...]:
        call, saved = ctx.call, ctx.saved_tensors
        pulls = [None if v is None else v.detach().requires_grad_() for v in saved[: ctx.count]]
        outputs, leaves = call.again(_there(saved[ctx.count :]))
        for value in outputs:
            if value.requires_grad:
                call.kept.check(value)
        with torch.enable_grad():
            first = _gradient(_pairs(outputs, pulls), leaves, create_graph=True)
        return (None, None, *_gradient(_pairs(first, bent), [*pulls, *leaves]))


def _there(values: Tensors) -> list[Tensor]:
    return [value for value in values if value is not None]


def _pairs(outputs: Tensors, pulls: Tensors) -> list[tuple[Tensor, Tensor]]:
    """Those that both have a graph and are asked for."""
    return [
        (value, pull)
        for value, pull in zip(outputs, pulls, strict=True)
        if value is not None and pull is not None and value.requires_grad
    ]


def _gradient(
    pairs: Sequence[tuple[Tensor, Tensor]], leaves: Tensors, *, create_graph: bool = False
) -> list[Tensor | None]:
    """By each of ``leaves``; None for one that needs none or is not reached."""
    wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
    if not pairs or not wanted:
        return [None] * len(leaves)
    found = iter(
        torch.autograd.grad(
            [value for value, _ in pairs],
            wanted,
            [pull for _, pull in pairs],
            allow_unused=True,
            create_graph=create_graph,
        )
    )
    return [next(found) if leaf is not None and leaf.requires_grad else None for leaf in leaves]


def _emptied(value: Any, tensors: list[Tensor]) -> Any:
    """``value`` without its tensors, which go into ``tensors``; looked for in tuples, lists and dicts."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return _HELD
    if isinstance(value, dict):
        return {key: _emptied(each, tensors) for key, each in value.items()} if type(value) is dict else value
    if type(value) in (tuple, list):
        return type(value)(_emptied(each, tensors) for each in value)
    return value


def _filled(value: Any, tensors: Iterator[Tensor]) -> Any:
    """What ``_emptied`` took apart."""
    if value is _HELD:
        return next(tensors)
    if type(value) is dict:
        return {key: _filled(each, tensors) for key, each in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_filled(each, tensors) for each in value)
    return value
