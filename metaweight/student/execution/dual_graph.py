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
from metaweight.student.execution.layer_outputs import LayerOutputs

UNCOMPILED = "the dual pass runs as it is, not compiled: a random number in it depends on a value"

Run = Callable[[nn.Module, Mapping[str, Tensor], tuple[Any, ...]], Any]
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
        self._graphs: dict[Any, Callable[..., Any]] = {}

    def __call__(
        self,
        moving: dict[str, Tensor],
        tangents: dict[str, Tensor],
        still: dict[str, Tensor],
        inputs: tuple[Any, ...],
        kept: dict[str, list[Tensor]],
    ) -> tuple[Any, Any]:
        """(outputs, tangents); ``still`` is not changed.  Arguments that are no tensors are constants."""
        leaves, spec = tree_flatten((moving, tangents, still, inputs, kept))
        tensors = [leaf.detach() for leaf in leaves if isinstance(leaf, Tensor)]
        others = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        modes = tuple(part.training for part in self._skeleton.modules())
        key = (str(spec), tuple(map(_kind, tensors)), repr(others), modes)

        def dual_pass(*given: Tensor) -> tuple[Any, Any]:
            values = iter(given)
            full = [
                next(values) if isinstance(leaf, Tensor) else other
                for leaf, other in zip(leaves, others, strict=True)
            ]
            return self._dual_pass(*tree_unflatten(full, spec))

        with torch.no_grad():
            if key not in self._graphs:
                self._graphs[key] = self._compiled(dual_pass, tensors)
            outputs, tangent = self._graphs[key](*tensors)
        return outputs, tangent

    def _dual_pass(
        self,
        moving: dict[str, Tensor],
        tangents: dict[str, Tensor],
        still: dict[str, Tensor],
        inputs: tuple[Any, ...],
        kept: dict[str, list[Tensor]],
    ) -> tuple[Any, Any]:
        outputs = LayerOutputs(self._skeleton)
        outputs.take(kept)
        buffers = {name: value.clone() for name, value in still.items()}
        with torch.no_grad(), forward_ad.dual_level(), outputs.replayed():
            dual = {name: forward_ad.make_dual(p, tangents[name]) for name, p in moving.items()}
            duals = forward_ad.unpack_dual(self._run(self._skeleton, {**buffers, **dual}, inputs))
            tangent = torch.zeros_like(duals.primal) if duals.tangent is None else duals.tangent
            return duals.primal, tangent

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


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device
