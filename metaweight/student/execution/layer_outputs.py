"""What linear layers and convolutions gave in the train pass: the dual pass computes their tangents alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._pytree import tree_flatten

from metaweight.student.execution.replaced import replaced

CONVOLUTIONS: Mapping[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.Conv3d: F.conv3d,
}


@dataclass(frozen=True)
class Kept:
    """A layer's output in the train pass."""

    output: Tensor
    version: int
    """Shares the counter of in-place changes with what the module went on to use."""
    input_shape: torch.Size | None
    """None where it is known to fit."""

    @property
    def intact(self) -> bool:
        """Whether nobody has changed it in place."""
        return self.output._version == self.version

    def good_for(self, input: Tensor) -> bool:
        """Whether it is still the output, and of such an input; its type differs after autocast."""
        fits = self.input_shape in (None, input.shape)
        return self.intact and fits and self.output.dtype == input.dtype


class LayerOutputs:
    """Outputs of linear layers and convolutions, call by call, from one pass to a second, equal one.

    A dual number's primal half is what the first pass had already: a third of the products is spared.
    Layers of other classes, a subclass or a parametrised layer too, compute as ever, and so do convolutions
    whose padding is not zeros.  Costs the memory of the outputs in between; that of convolutions, which
    a norm behind them keeps for the first pass's backward anyway, is large once that graph is gone
    (``forget_convolutions``).
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._layers = [layer for layer in module.modules() if _has_rule(layer)]
        self._calls: dict[nn.Module, list[Kept]] = {}

    @contextmanager
    def recorded(self) -> Iterator[LayerOutputs]:
        """Outputs of the pass inside are kept."""
        self._calls = {layer: [] for layer in self._layers}

        def keep(layer: Any, input: Tensor) -> Tensor:
            output = _apply(layer, input, layer.weight, layer.bias)
            self._calls[layer].append(Kept(output.detach(), output._version, input.shape))
            return output

        with replaced(self._layers, keep):
            yield self

    def take(self, outputs: Mapping[str, Sequence[Tensor]]) -> None:
        """Outputs by the layers' names, from a compiled pass."""
        layers = {name: self._module.get_submodule(name) for name in outputs}
        self._calls = {layer: [] for layer in self._layers}
        for name, values in outputs.items():
            self._calls[layers[name]] = [Kept(output, output._version, None) for output in values]

    def intact(self) -> dict[str, list[Tensor]]:
        """Outputs by the layers' names, of those layers whose outputs nobody has changed in place."""
        names = {layer: name for name, layer in self._module.named_modules()}
        return {
            names[layer]: [call.output for call in calls]
            for layer, calls in self._calls.items()
            if calls and all(call.intact for call in calls)
        }

    def forget_convolutions(self) -> None:
        """Let go of the outputs that take most memory; these layers then compute as ever."""
        for layer, calls in self._calls.items():
            if type(layer) in CONVOLUTIONS:
                calls.clear()

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """A dual pass inside takes the kept outputs as its primal values; each call is good for once."""
        rest = {layer: iter(calls) for layer, calls in self._calls.items()}

        def tangent_only(layer: Any, input: Tensor) -> Tensor:
            call = next(rest[layer], None)
            if call is None or not call.good_for(input):
                return _apply(layer, input, layer.weight, layer.bias)
            tangent = _tangent(layer, input)
            if tangent is None:
                return call.output
            dual: Tensor = forward_ad.make_dual(call.output, tangent.to(call.output.dtype))
            return dual

        with replaced(self._layers, tangent_only):
            yield


def unchanged_layers(module: nn.Module, run: Callable[[], Any]) -> list[str]:
    """Names of the layers with a rule whose outputs in ``run()`` nothing changes in place.

    ``module`` may be on the device "meta".  An output that is also the module's is not among them, for the
    loss may change that; where the pass does not run on "meta", none is.
    """
    outputs = LayerOutputs(module)
    try:
        with torch.no_grad(), outputs.recorded():
            value = run()
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return []  # it needs values, so it has no graph of one piece either
    last = {t.untyped_storage()._cdata for t in tree_flatten(value)[0] if isinstance(t, Tensor)}
    return [
        name
        for name, calls in outputs.intact().items()
        if not any(output.untyped_storage()._cdata in last for output in calls)
    ]


def _has_rule(layer: nn.Module) -> bool:
    if "forward" in vars(layer):
        return False
    return type(layer) is nn.Linear or (type(layer) in CONVOLUTIONS and layer.padding_mode == "zeros")


def _apply(layer: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What ``layer`` would give with these parameters."""
    if type(layer) is nn.Linear:
        return F.linear(input, weight, bias)
    convolve: Callable[..., Tensor] = CONVOLUTIONS[type(layer)]
    return convolve(input, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def _tangent(layer: Any, x: Tensor) -> Tensor | None:
    """d(W x + b) = W dx + dW x + db; None where nothing moves."""
    (x, dx), (weight, dweight) = forward_ad.unpack_dual(x), forward_ad.unpack_dual(layer.weight)
    dbias = None if layer.bias is None else forward_ad.unpack_dual(layer.bias).tangent
    if dx is None and dweight is None:
        return None if dbias is None else _apply(layer, torch.zeros_like(x), weight, dbias)
    if dx is None or dweight is None:
        operand, by = (x, dweight) if dx is None else (dx, weight)
        return _apply(layer, operand, by, dbias)
    tangent = _apply(layer, dx, weight, dbias)
    if type(layer) is not nn.Linear:
        return tangent.add_(_apply(layer, x, dweight, None))
    rows = tangent.view(-1, tangent.shape[-1])
    operands = x.reshape(-1, x.shape[-1]), dweight.t()
    if not (rows.dtype == x.dtype == dweight.dtype):  # autocast casts where there is no ``out``
        return torch.addmm(rows, *operands).view_as(tangent)
    # in its place; torch's counter of operations does not know addmm_
    torch.addmm(rows, *operands, out=rows)
    return tangent
