"""What linear layers gave in the train pass, so that the dual pass computes their tangents alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from metaweight.engines.parts import replaced


class LinearOutputs:
    """The outputs of a module's ``nn.Linear`` layers, call by call, from one pass to a second, equal one.

    A dual number's primal half is what the first pass had already: a third of the matrix products is
    spared.  Costs the memory of the outputs in between.  Layers of other classes, a subclass or a
    parametrised layer too, compute as ever.
    """

    def __init__(self, module: nn.Module) -> None:
        self._layers = [m for m in module.modules() if type(m) is nn.Linear and "forward" not in vars(m)]
        self._calls: dict[nn.Linear, list[tuple[Tensor, int]]] = {}

    @contextmanager
    def recorded(self) -> Iterator[LinearOutputs]:
        """Outputs of the pass inside are kept."""
        self._calls = {layer: [] for layer in self._layers}

        def keep(layer: nn.Linear, input: Tensor) -> Tensor:
            output = F.linear(input, layer.weight, layer.bias)
            # shares the counter of in-place changes with what the module goes on to use
            self._calls[layer].append((output.detach(), output._version))
            return output

        with replaced(self._layers, keep):
            yield self

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """A dual pass inside takes the kept outputs as its primal values; each call is good for once."""
        left = {layer: iter(calls) for layer, calls in self._calls.items()}

        def tangent_only(layer: nn.Linear, input: Tensor) -> Tensor:
            output, version = next(left[layer], (None, 0))
            shape = (*input.shape[:-1], layer.out_features)
            # it has another type where the train pass ran under autocast
            if (
                output is None
                or (output._version, output.shape) != (version, shape)
                or output.dtype != input.dtype
            ):
                return F.linear(input, layer.weight, layer.bias)
            tangent = _tangent(layer, input)
            return output if tangent is None else forward_ad.make_dual(output, tangent.to(output.dtype))

        with replaced(self._layers, tangent_only):
            yield


def _tangent(layer: nn.Linear, x: Tensor) -> Tensor | None:
    """d(x W^T + b) = dx W^T + x dW^T + db; None where nothing moves."""
    (x, dx), (weight, dweight) = forward_ad.unpack_dual(x), forward_ad.unpack_dual(layer.weight)
    dbias = None if layer.bias is None else forward_ad.unpack_dual(layer.bias).tangent
    if dx is None and dweight is None:
        return None if dbias is None else dbias.expand(*x.shape[:-1], -1)
    if dx is None or dweight is None:
        moved, by = (x, dweight) if dx is None else (dx, weight)
        return F.linear(moved, by, dbias)
    tangent = F.linear(dx, weight, dbias)
    rows = tangent.view(-1, tangent.shape[-1])
    return torch.addmm(rows, x.reshape(-1, x.shape[-1]), dweight.t()).view_as(tangent)
