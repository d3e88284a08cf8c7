"""A Jacobian-vector product as a graph without dual numbers, compiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch._dynamo
from torch import Tensor, nn
from torch._dynamo.backends.registry import lookup_backend
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from metaweight.core.randomness import RandomState
from metaweight.student.execution.drawn import draws_taken_out
from metaweight.student.execution.execution import Arguments
from metaweight.student.execution.layer_outputs import LayerOutputs
from metaweight.student.structure import map_tensors, tensors_in

UNCOMPILED = "the dual pass runs as it is, not compiled: a random number in it depends on a value"

Run = Callable[[nn.Module, Mapping[str, Tensor], Arguments], Any]
"""(skeleton, all of its parameters and buffers, inputs) -> outputs."""


class DualGraph:
    """Outputs of a skeleton and their derivative along tangents of its parameters.

    torch.compile would take the layers' kept outputs as just another input: it knows no dual number whose
    primal half is given.  So the pass is traced below autograd, where dual numbers have become ordinary
    operators, once for each kind of arguments and mode of the module.
    """

    def __init__(self, skeleton: nn.Module, run: Run, backend: str) -> None:
        self._skeleton, self._run = skeleton, run
        self._backend = backend
        self._graphs: dict[Any, tuple[Callable[..., Any], Any]] = {}
        """Kind of arguments -> graph, and the outputs' form with empty tensors in it."""

    def __call__(
        self,
        moving: dict[str, Tensor],
        tangents: dict[str, Tensor],
        still: dict[str, Tensor],
        inputs: Arguments,
        kept: dict[str, list[Tensor]],
    ) -> tuple[Any, list[Tensor | None]]:
        """Outputs, and each of their tensors' tangent (``dual_outputs``); ``still`` is not changed.

        Arguments that are no tensors are constants, and so is what the outputs hold beside tensors.
        """
        leaves, spec = tree_flatten((moving, tangents, still, inputs, kept))
        tensors = [leaf.detach() for leaf in leaves if isinstance(leaf, Tensor)]
        others = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        modes = tuple(part.training for part in self._skeleton.modules())
        key = (str(spec), tuple(map(_kind, tensors)), repr(others), modes)

        form: list[Any] = []

        def dual_pass(*given: Tensor) -> list[Tensor]:
            values = iter(given)
            full = [
                next(values) if isinstance(leaf, Tensor) else other
                for leaf, other in zip(leaves, others, strict=True)
            ]
            outputs, numbers = self._dual_pass(*tree_unflatten(full, spec))
            form.append(outputs)
            return numbers

        with torch.no_grad():
            if key not in self._graphs:
                graph = self._compiled(dual_pass, tensors)
                self._graphs[key] = graph, map_tensors(_place, form[-1])
            graph, outputs = self._graphs[key]
            numbers = iter(graph(*tensors))

        tangents_out: list[Tensor | None] = []

        def primal(place: Tensor) -> Tensor:
            value: Tensor = next(numbers)
            tangents_out.append(next(numbers) if _moves(place) else None)
            return value

        return map_tensors(primal, outputs), tangents_out

    def _dual_pass(
        self,
        moving: dict[str, Tensor],
        tangents: dict[str, Tensor],
        still: dict[str, Tensor],
        inputs: Arguments,
        kept: dict[str, list[Tensor]],
    ) -> tuple[Any, list[Tensor]]:
        """Outputs in their form, and a flat list of each tensor and, of what may move, its tangent."""
        outputs = LayerOutputs(self._skeleton)
        outputs.take(kept)
        buffers = {name: value.clone() for name, value in still.items()}
        with torch.no_grad(), forward_ad.dual_level(), outputs.replayed():
            dual = {name: forward_ad.make_dual(p, tangents[name]) for name, p in moving.items()}
            given = self._run(self._skeleton, {**buffers, **dual}, inputs)
            numbers: list[Tensor] = []
            for value in tensors_in(given):
                primal, tangent = forward_ad.unpack_dual(value)
                numbers.append(primal)
                if _moves(primal):
                    numbers.append(torch.zeros_like(primal) if tangent is None else tangent)
            return given, numbers

    def _compiled(self, dual_pass: Callable[..., Any], tensors: list[Tensor]) -> Callable[..., Any]:
        random = RandomState.of(tensors[0].device)
        graph = make_fx(dual_pass, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)
        draws = draws_taken_out(graph)
        if draws is None:
            warnings.warn(UNCOMPILED, UserWarning, stacklevel=2)
            return graph
        compiled: Callable[..., Any] = lookup_backend(self._backend)(graph, [*tensors, *(d() for d in draws)])
        # the masks above, and what a backend draws to time its kernels with, count for nothing
        random.restore(tensors[0].device)
        return lambda *given: compiled(*given, *(draw() for draw in draws))


def _moves(value: Tensor) -> bool:
    return value.is_floating_point() or value.is_complex()


def _place(value: Tensor) -> Tensor:
    return torch.empty(0, dtype=value.dtype, device="meta")


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device
