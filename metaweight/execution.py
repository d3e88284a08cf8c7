"""How a module is run: plainly, under autocast, in channels-last layout, compiled."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch._functorch.config
from torch import Tensor, nn
from torch.func import functional_call, jvp

from metaweight.registry import did_you_mean

PRECISIONS = ("float32", "bf16")
LAYOUTS = ("contiguous", "channels_last")
Seen = dict[str, Any]
"""Tap -> what its submodule gave."""


@dataclass(frozen=True)
class Execution:
    """Options of every pass of a student.

    ``precision``: "bf16" runs the module under autocast; parameters, losses and the optimizer stay as
    they are.  ``memory_format``: "channels_last" for images of four dimensions.  ``compile``: True, or the
    name of a torch.compile backend; the first pass of each input shape takes a minute or more.
    Raises ValueError for an unknown one, with the nearest.
    """

    precision: Literal["float32", "bf16"] = "float32"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    compile: bool | str = False

    def __post_init__(self) -> None:
        _require("precision", self.precision, PRECISIONS)
        _require("memory_format", self.memory_format, LAYOUTS)
        if isinstance(self.compile, str):
            _require("backend", self.compile, torch._dynamo.list_backends(None))

    def prepare(self, module: nn.Module) -> None:
        """Bring a module's parameters into the layout, in place."""
        if self.memory_format == "channels_last":
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def inputs(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """A batch's inputs in the layout."""
        if self.memory_format != "channels_last":
            return values
        return tuple(
            v.to(memory_format=torch.channels_last) if isinstance(v, Tensor) and v.dim() == 4 else v
            for v in values
        )

    def compiled(self, module: nn.Module, taps: Sequence[str]) -> Compiled | None:
        """The compiled passes of a module; None where they are not wanted."""
        if self.compile is False:
            return None
        return Compiled(module, taps, "inductor" if self.compile is True else self.compile)

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Around a pass of the module."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)


class Compiled:
    """A module's forward pass and its Jacobian-vector product, compiled over copies of it.

    A compiled call of the module itself would go on using the parameters that it was traced with; here
    all parameters and buffers are arguments.  Taps are read inside the graph.
    """

    def __init__(self, module: nn.Module, taps: Sequence[str], backend: str) -> None:
        self._module = weakref.ref(module)
        # without storage: not one value of theirs is used.  A hook in the second would let a dual number out
        self._skeletons = tapped, bare = copy.deepcopy(module).to("meta"), copy.deepcopy(module).to("meta")
        self._taps = tuple(taps)
        seen: Seen = {}
        first = {id(p): name for name, p in module.named_parameters()}
        # moved to "meta" they lost their ties
        ties = {
            name: first[id(p)]
            for name, p in module.named_parameters(remove_duplicate=False)
            if first[id(p)] != name
        }

        def run(skeleton: nn.Module, values: dict[str, Tensor], inputs: tuple[Any, ...]) -> Any:
            tied = {name: values[owner] for name, owner in ties.items()}
            return functional_call(skeleton, {**values, **tied}, inputs)

        for name in taps:
            tapped.get_submodule(name).register_forward_hook(_keep(name, seen))

        def forward(values: dict[str, Tensor], inputs: tuple[Any, ...]) -> tuple[Any, list[Any]]:
            seen.clear()
            outputs = run(tapped, values, inputs)
            return outputs, [seen.get(name) for name in taps]

        def directional(
            moving: dict[str, Tensor],
            tangents: dict[str, Tensor],
            still: dict[str, Tensor],
            inputs: tuple[Any, ...],
        ) -> tuple[Any, Any]:
            def of(parameters: dict[str, Tensor]) -> Any:
                # jvp forbids to write into a tensor from outside: the running statistics are clones
                buffers = {name: value.clone() for name, value in still.items()}
                return run(bare, {**buffers, **parameters}, inputs)

            outputs, tangent = jvp(of, (moving,), (tangents,))  # type: ignore[misc]
            return outputs, tangent

        # the graph is backpropagated more than once; masks must be those that eager code would draw
        torch._functorch.config.donated_buffer = False
        options: dict[str, Any] = {"fallback_random": True} if backend == "inductor" else {}
        self._forward = torch.compile(forward, backend=backend, dynamic=False, options=options or None)
        self._directional = torch.compile(
            directional, backend=backend, dynamic=False, options=options or None
        )

    def __call__(self, values: Mapping[str, Tensor], inputs: tuple[Any, ...]) -> tuple[Any, Seen]:
        """Outputs at all of ``values`` (parameters and buffers; the running statistics move), and taps."""
        self._same_modes()
        outputs, seen = self._forward(dict(values), inputs)
        return outputs, {
            name: value for name, value in zip(self._taps, seen, strict=True) if value is not None
        }

    def directional(
        self,
        moving: Mapping[str, Tensor],
        tangents: Mapping[str, Tensor],
        still: Mapping[str, Tensor],
        inputs: tuple[Any, ...],
    ) -> tuple[Any, Any]:
        """Outputs, and their derivative along ``tangents`` (for each of ``moving``); changes nothing."""
        self._same_modes()
        result: tuple[Any, Any] = self._directional(dict(moving), dict(tangents), dict(still), inputs)
        return result

    def _same_modes(self) -> None:
        module = self._module()
        assert module is not None, "the module outlives its student"
        for skeleton in self._skeletons:
            for here, there in zip(module.modules(), skeleton.modules(), strict=True):
                if there.training != here.training:
                    there.training = here.training


def _require(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"unknown {what} {value!r}.{did_you_mean(value, known)}")


def _keep(name: str, seen: Seen) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        seen[name] = output

    return hook
