"""The Student: a module with unit losses and taps, runnable on any parameters without touching its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call

from metaweight.core.contracts import Batch, Forward, StateSpec, Units, require_batch
from metaweight.core.randomness import forked_rng
from metaweight.core.registry import did_you_mean
from metaweight.student.execution import Execution, LayerOutputs
from metaweight.student.losses import UnitLoss, cross_entropy
from metaweight.student.taps import TapReading, TimeAxes, read_tap, source_lengths, tapped, unit_features

Named = Mapping[str, Tensor]
T = TypeVar("T")


class Student:
    """A torch module with its loss per unit and the submodules that the teacher may look into.

    ``loss``: (outputs, targets) -> [U], ([U], sizes [U]) or Units.  ``taps``: names of submodules, as
    ``named_modules()`` prints them; the last one is the deepest.  ``time_axes``: the real positions of a
    tap over time, for padded batches.  ``execution``: precision, memory layout and compilation of all
    passes.  Raises KeyError for an unknown tap, ValueError where no parameter is trainable or the module
    is compiled or wrapped.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: UnitLoss = cross_entropy,
        *,
        taps: Sequence[str] = (),
        time_axes: TimeAxes | None = None,
        execution: Execution | None = None,
    ) -> None:
        _refuse_wrapped(module)
        if not any(p.requires_grad for p in module.parameters()):
            raise ValueError("the student has no trainable parameter: requires_grad is False for all of them")
        if isinstance(taps, str):
            raise TypeError(f"taps is a sequence of names, got the string {taps!r}; write ({taps!r},)")
        names = {name for name, _ in module.named_modules() if name}
        for tap in taps:
            if tap not in names:
                raise KeyError(f"unknown tap {tap!r}.{did_you_mean(tap, names)}")
        self.module = module
        self.loss = loss
        self.taps = tuple(taps)
        self.time_axes = time_axes
        self.execution = execution or Execution()
        self.execution.prepare(module)
        self.compiled = self.execution.compiled(module, self.taps)

    def parameters(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name; a shared one appears once."""
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def buffers(self) -> dict[str, Tensor]:
        """Clones of all buffers by name (running statistics and the like)."""
        return {name: b.detach().clone() for name, b in self.module.named_buffers()}

    @property
    def device(self) -> torch.device:
        """The device of the first parameter."""
        return next(self.module.parameters()).device

    def __call__(self, batch: Batch, *, module: nn.Module | None = None, taps: bool = True) -> Forward:
        """Run the live module (or a copy of it) as it stands; moves its running statistics."""
        if module is None and self.compiled is not None:
            return self._run_compiled(batch, {}, dict(self.module.named_buffers()), taps)
        module = self.module if module is None else module
        return self._forward(batch, module, lambda inputs: module(*inputs), taps)

    def functional(
        self,
        batch: Batch,
        parameters: Mapping[str, Tensor],
        buffers: dict[str, Tensor],
        *,
        taps: bool = True,
        exact: bool = False,
        plain: bool = False,
    ) -> Forward:
        """Run on other parameters; ``buffers`` (clones) take the running statistics, not the module.

        Whatever ``execution`` says, ``exact``: in the parameters' own precision; ``plain``: not compiled
        either.
        """
        exact = exact or plain
        if self.compiled is not None and not plain:
            return self._run_compiled(batch, parameters, buffers, taps, exact)
        values = {**parameters, **buffers}
        forward = self._forward(
            batch, self.module, lambda inputs: functional_call(self.module, values, inputs), taps, exact
        )
        # a module may also assign a buffer anew; torch puts that into ``values``
        buffers.update((name, values[name].detach()) for name in buffers)
        return forward

    def within(self, parameters: Named, buffers: Named, call: Callable[[], T]) -> T:
        """``call()`` while the module stands on other parameters and buffers, as in ``functional``.

        A backward belongs in here: a checkpoint computes its part again, on what it finds in the module.
        """
        values = {f"module.{name}": value for name, value in {**parameters, **buffers}.items()}
        result: T = functional_call(_Within(self.module), values, (call,))
        return result

    def outputs_kept(self) -> AbstractContextManager[LayerOutputs]:
        """Around a pass that a directional one follows: what that one can take over."""
        return LayerOutputs(self.module).recorded() if self.compiled is None else self.compiled.recorded()

    def directional(
        self,
        batch: Batch,
        parameters: Named,
        direction: Named,
        buffers: dict[str, Tensor],
        kept: LayerOutputs | None = None,
    ) -> Tensor | None:
        """<direction, grad loss_i> for each unit [U] by forward-mode AD; None where all tangents are lost.

        ``kept``: of a pass at the same parameters.
        """
        outputs = tangent = None
        if self.compiled is not None:
            moving = {n: parameters[n] for n in direction}
            still = {n: p for n, p in self._complete(parameters, buffers).items() if n not in direction}
            with torch.no_grad():
                outputs, tangent = self.compiled.directional(
                    moving, direction, still, self.execution.inputs(batch.inputs), kept
                )
        replayed = kept.replayed() if kept is not None and self.compiled is None else nullcontext()
        with torch.no_grad(), forward_ad.dual_level(), replayed:
            if self.compiled is not None:
                loss = self._units(forward_ad.make_dual(outputs, tangent), batch).loss
            else:
                dual = {
                    n: forward_ad.make_dual(p, direction[n]) if n in direction else p
                    for n, p in parameters.items()
                }
                loss = self.functional(batch, dual, buffers, taps=False, plain=True).loss
            tangents = forward_ad.unpack_dual(loss).tangent
            return None if tangents is None else tangents.clone()

    def _complete(self, parameters: Named, buffers: Named) -> dict[str, Tensor]:
        return {**dict(self.module.named_parameters()), **parameters, **buffers}

    def _run_compiled(
        self, batch: Batch, parameters: Named, buffers: Named, taps: bool, exact: bool = False
    ) -> Forward:
        assert self.compiled is not None
        with nullcontext() if exact else self.execution.autocast(self.device):
            outputs, values = self.compiled(
                self._complete(parameters, buffers), self.execution.inputs(batch.inputs)
            )
        names = self.taps if taps else ()
        readings = {tap: read_tap(tap, values[tap], batch, self.time_axes) for tap in names if tap in values}
        return self._concluded(outputs, readings, batch, names)

    def _forward(
        self,
        batch: Batch,
        module: nn.Module,
        call: Callable[[tuple[Any, ...]], Any],
        taps: bool,
        exact: bool = False,
    ) -> Forward:
        readings: dict[str, TapReading] = {}
        names = self.taps if taps else ()
        autocast = nullcontext() if exact else self.execution.autocast(self.device)
        with tapped(module, names, batch, self.time_axes, readings), autocast:
            outputs = call(self.execution.inputs(batch.inputs))
        return self._concluded(outputs, readings, batch, names)

    def _concluded(
        self, outputs: Any, readings: Mapping[str, TapReading], batch: Batch, names: Sequence[str]
    ) -> Forward:
        silent = [name for name in names if name not in readings]
        if silent:
            raise ValueError(
                f"tap {silent[0]!r} is never called in the student's forward pass; choose another"
            )
        if self.execution.precision != "float32" and isinstance(outputs, Tensor):
            outputs = outputs.to(next(self.module.parameters()).dtype)  # losses are summed in full
        units = self._units(outputs, batch)
        # in the order of the taps, not of the calls
        features = {tap: unit_features(readings[tap], units).to(units.loss.dtype) for tap in names}
        lengths = {tap: source_lengths(readings[tap], units) for tap in names}
        known_lengths = {tap: length for tap, length in lengths.items() if length is not None}
        return Forward(units, outputs, features, known_lengths, batch)

    def _units(self, outputs: Any, batch: Batch) -> Units:
        result = self.loss(outputs, batch.targets)
        if isinstance(result, Units):
            units = result
        elif isinstance(result, tuple):
            units = Units(*result)
        else:
            units = Units(result, torch.ones_like(result.detach()))
        if units.real is not None and units.real.shape != batch.targets.shape:
            shapes = f"{tuple(units.real.shape)} for targets {tuple(batch.targets.shape)}"
            raise ValueError(f"Units.real says of every target whether it is real, got shape {shapes}")
        count = int(units.real.sum()) if units.each_token and units.real is not None else len(batch)
        if units.loss.shape != (count,):
            got = tuple(units.loss.shape)
            raise ValueError(
                f"the student's loss gives one value a unit, shape [{count}], got {got}; use reduction='none'"
            )
        return units

    def spec(
        self, batch: Batch, *, class_counts: Sequence[int] | None = None, samples: int | None = None
    ) -> StateSpec:
        """Sizes of this student's states, measured on one batch; changes nothing.

        ``class_counts`` and ``samples``: what some teachers want to know of the training set.
        """
        require_batch(batch)
        with torch.no_grad(), forked_rng(self.device):
            forward = self.functional(batch, {}, self.buffers(), plain=True)
        return StateSpec(
            features={name: value.shape[1] for name, value in forward.features.items()},
            classes=forward.outputs.shape[-1],
            dtype=forward.loss.dtype,
            device=forward.loss.device,
            sentences=forward.units.real is not None and not forward.units.each_token,
            tokens=forward.units.each_token,
            source_taps=tuple(forward.lengths),
            class_counts=None if class_counts is None else tuple(int(n) for n in class_counts),
            samples=samples,
        )


class _Within(nn.Module):
    """Anything that is done while ``functional_call`` has put other values into a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, call: Callable[[], Any]) -> Any:
        return call()


def _refuse_wrapped(module: nn.Module) -> None:
    for name, part in module.named_modules():
        where = f"submodule {name!r}" if name else "the student"
        # a compiled call keeps using the parameters it was traced with, so no weight would ever move
        if hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None:
            raise ValueError(
                f"{where} is compiled: engines cannot swap its parameters; pass the plain module"
            )
        if isinstance(part, nn.parallel.DistributedDataParallel | nn.DataParallel):
            raise ValueError(f"{where} is wrapped in {type(part).__name__}; pass its .module")
