"""A module's passes, compiled."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map_only

from metaweight.student.execution.dual_graph import DualGraph
from metaweight.student.execution.execution import Arguments, keep_buffers
from metaweight.student.execution.layer_outputs import LayerOutputs, unchanged_layers
from metaweight.student.structure import tensors_in

Seen = dict[str, Any]
"""Tap -> what its submodule gave."""
SHAPES = 64
"""Kinds of a pass (shapes, gradients or none, training or not) that are compiled; of the next one torch
warns, and runs it as it is."""


class Compiled:
    """A module's forward pass and its Jacobian-vector product, compiled over copies of it.

    A compiled call of the module itself would go on using the parameters that it was traced with; here
    all parameters and buffers are arguments.  Taps are read inside the graph, and so is what linear layers
    and convolutions give, which the Jacobian-vector product can take over.
    """

    def __init__(self, module: nn.Module, taps: Sequence[str], backend: str) -> None:
        self._module = weakref.ref(module)
        # without storage: not one value of theirs is used.  A hook in the second would let a dual number out
        self._tapped, self._bare = (copy.deepcopy(module).to("meta") for _ in range(2))
        self._taps = tuple(taps)
        self._seen: Seen = {}
        self._kept: dict[str, list[Tensor]] = {}
        self._sink: LayerOutputs | None = None
        first = {id(p): name for name, p in module.named_parameters()}
        # moved to "meta" they lost their ties
        self._ties = {
            name: first[id(p)]
            for name, p in module.named_parameters(remove_duplicate=False)
            if first[id(p)] != name
        }
        for name in taps:
            self._tapped.get_submodule(name).register_forward_hook(_keep(name, self._seen))
        self._watched = False
        # the graph is backpropagated more than once; masks must be those that eager code would draw
        keep_buffers()
        options: dict[str, Any] = {"fallback_random": True} if backend == "inductor" else {}
        # all students share the code of ``_pass``: without isolation, the ninth of them would run eagerly
        self._forward = torch.compile(  # type: ignore[call-overload]  # torch's overloads lack the last two
            self._pass,
            backend=backend,
            dynamic=False,
            options=options or None,
            recompile_limit=SHAPES,
            isolate_recompiles=True,
        )
        self._dual = DualGraph(self._bare, self._run, backend)

    def __call__(self, values: Mapping[str, Tensor], inputs: Arguments) -> tuple[Any, Seen]:
        """Outputs at all of ``values`` (parameters and buffers; the running statistics move), and taps."""
        self._same_modes()
        self._watch(values, inputs)
        try:
            outputs, taps, kept = self._forward(dict(values), inputs)
        finally:
            self._forget()
        if self._sink is not None:
            self._sink.take(kept)
        return outputs, {
            name: value for name, value in zip(self._taps, taps, strict=True) if value is not None
        }

    def directional(
        self,
        moving: Mapping[str, Tensor],
        tangents: Mapping[str, Tensor],
        still: Mapping[str, Tensor],
        inputs: Arguments,
        kept: LayerOutputs | None = None,
    ) -> tuple[Any, list[Tensor | None]]:
        """Outputs, and their tensors' derivatives along ``tangents`` (for each of ``moving``).

        Changes nothing.  ``kept``: of a pass at the same values on the same inputs.
        """
        self._same_modes()
        outputs = {} if kept is None else kept.intact()
        return self._dual(dict(moving), dict(tangents), dict(still), inputs, outputs)

    @contextmanager
    def recorded(self) -> Iterator[LayerOutputs]:
        """What the layers give in the pass inside."""
        module = self._module()
        assert module is not None, "the module outlives its student"
        self._sink = LayerOutputs(module)
        try:
            yield self._sink
        finally:
            self._sink = None

    def _run(self, skeleton: nn.Module, values: Mapping[str, Tensor], inputs: Arguments) -> Any:
        tied = {name: values[owner] for name, owner in self._ties.items()}
        return functional_call(skeleton, {**values, **tied}, *inputs)

    def _pass(
        self, values: dict[str, Tensor], inputs: Arguments
    ) -> tuple[Any, list[Any], dict[str, list[Tensor]]]:
        outputs = self._run(self._tapped, values, inputs)
        return outputs, [self._seen.get(name) for name in self._taps], dict(self._kept)

    def _forget(self) -> None:
        """Let the next pass find what this one found: these are a part of what a graph is good for."""
        self._seen.clear()
        self._kept.clear()

    def _watch(self, values: Mapping[str, Tensor], inputs: Arguments) -> None:
        """Let the graph give what those layers give whose outputs nothing changes in place."""
        if self._watched:
            return
        self._watched = True
        on_meta = _on_meta(values, inputs)
        for name in unchanged_layers(self._bare, lambda: tensors_in(self._run(self._bare, *on_meta))):
            self._tapped.get_submodule(name).register_forward_hook(_collect(name, self._kept))

    def _same_modes(self) -> None:
        module = self._module()
        assert module is not None, "the module outlives its student"
        for skeleton in (self._tapped, self._bare):
            for here, there in zip(module.modules(), skeleton.modules(), strict=True):
                if there.training != here.training:
                    there.training = here.training


def _on_meta(values: Mapping[str, Tensor], inputs: Arguments) -> tuple[dict[str, Tensor], Arguments]:
    moved: Arguments = tree_map_only(Tensor, lambda value: value.to("meta"), inputs)
    return {name: value.detach().to("meta") for name, value in values.items()}, moved


def _keep(name: str, seen: Seen) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        seen[name] = output

    return hook


def _collect(name: str, kept: dict[str, list[Tensor]]) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        kept[name] = [*kept.get(name, ()), output.detach()]

    return hook
