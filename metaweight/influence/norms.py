"""Running statistics: what the training batches leave in them, and a pass that reads them with a derivative.

torch has no derivative of an evaluating BatchNorm by its running mean and variance, which a whole run's
training batches have made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from metaweight.core.submodules import submodules
from metaweight.student.execution.replaced import replaced
from metaweight.student.student import Named

STATISTICS = ("running_mean", "running_var")
COUNT = "num_batches_tracked"


def norms_of(module: nn.Module) -> dict[str, _BatchNorm]:
    """Name -> layer that keeps running statistics of the batches it has seen."""
    return {
        name: part
        for name, part in submodules(module)
        if isinstance(part, _BatchNorm) and part.running_mean is not None
    }


def places_of(norms: Mapping[str, _BatchNorm]) -> set[str]:
    """Names of the buffers of such layers, the counts among them."""
    return {_place(name, key) for name in norms for key in (*STATISTICS, COUNT)}


@contextmanager
def read_with_derivative(norms: Mapping[str, _BatchNorm], buffers: Named) -> Iterator[dict[str, Tensor]]:
    """Evaluating layers inside read leaves with the values of ``buffers``; gives these leaves by name."""
    leaves: dict[str, Tensor] = {}
    own: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    for name, layer in norms.items():
        if layer.training:
            continue
        for key in STATISTICS:
            leaves[_place(name, key)] = buffers[_place(name, key)].detach().clone().requires_grad_()
        own[layer] = (leaves[_place(name, "running_mean")], leaves[_place(name, "running_var")])

    def call(layer: Any, x: Tensor) -> Tensor:
        mean, variance = own[layer]
        shape = [1, -1] + [1] * (x.dim() - 2)
        scale = torch.rsqrt(variance + layer.eps)
        if layer.weight is not None:
            scale = scale * layer.weight
        y = (x - mean.view(shape)) * scale.view(shape)
        return y if layer.bias is None else y + layer.bias.view(shape)

    with replaced(list(own), call):
        yield leaves


@dataclass
class Observed:
    """What the training layers of one pass have seen, in the order of the calls."""

    norms: Mapping[str, _BatchNorm]
    seen: dict[str, list[tuple[Tensor, Tensor]]] = field(default_factory=dict)
    """Of each call mean and unbiased variance [C], as they enter the running ones."""
    elsewhere: set[str] = field(default_factory=set)
    """Norms of which somebody else takes note."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take note of the inputs of passes inside."""
        handles = [
            layer.register_forward_pre_hook(partial(self._called, name))
            for name, layer in self.norms.items()
            if layer.training and name not in self.elsewhere
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def note(self, name: str, statistics: tuple[Tensor, Tensor]) -> None:
        """One more call."""
        self.seen.setdefault(name, []).append(statistics)

    def _called(self, name: str, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        dims = [d for d in range(x.dim()) if d != 1]
        self.note(name, (x.mean(dims), x.var(dims, correction=1)))

    def back(
        self, adjoint: Mapping[str, Tensor], buffers: Named
    ) -> tuple[list[tuple[Tensor, Tensor]], dict[str, Tensor]]:
        """(batch statistics, each with what the loss says of it; the adjoint of the running ones before).

        ``adjoint``: of the running statistics after the pass, by name of the buffer; ``buffers``: those
        before it.
        """
        beside: list[tuple[Tensor, Tensor]] = []
        before = dict(adjoint)
        for name, calls in self.seen.items():
            places = [_place(name, key) for key in STATISTICS]
            if not any(place in adjoint for place in places):
                continue
            shares = self._shares(name, len(calls), buffers)
            for number in reversed(range(len(calls))):
                for place, value in zip(places, calls[number], strict=True):
                    if place in before:
                        beside.append((value, shares[number] * before[place]))
                        before[place] = (1 - shares[number]) * before[place]
        return [(value, pull) for value, pull in beside if value.requires_grad], before

    def _shares(self, name: str, calls: int, buffers: Named) -> list[float]:
        """What part of the running statistics each call replaces."""
        momentum = self.norms[name].momentum
        if momentum is not None:
            return [float(momentum)] * calls
        count = int(buffers[_place(name, COUNT)])  # the mean of all batches
        return [1 / (count + 1 + number) for number in range(calls)]


def _place(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
