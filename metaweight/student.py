"""The Student: a module with unit losses and taps, runnable on any parameters without touching its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from metaweight.contracts import Batch, StateSpec, StudentState, Units
from metaweight.losses import UnitLoss, cross_entropy
from metaweight.pooling import TapReading, TimeAxes, read_tap, source_lengths, unit_features
from metaweight.registry import did_you_mean


@dataclass(frozen=True)
class Forward:
    """One pass of a student over a batch, with its graph."""

    units: Units
    outputs: Tensor
    features: Mapping[str, Tensor]
    """Tap -> [U, D]."""
    lengths: Mapping[str, Tensor]
    """Tap over the source -> [U], its real positions."""
    batch: Batch

    @property
    def loss(self) -> Tensor:
        """[U]; its mean is the ordinary loss."""
        return self.units.loss

    @property
    def index(self) -> Tensor:
        """[U], position of each unit in the data set."""
        return self.units.of_rows(self.batch.index)

    def state(self, progress: float = 0.0) -> StudentState:
        """What the teacher may see of it, detached."""
        units, outputs, targets = self.units, self.outputs.detach(), self.batch.targets
        real = units.real
        if units.each_token:
            outputs, targets, real = outputs[real], targets[real], None
        return StudentState(
            loss=units.loss.detach(),
            size=units.size.detach().to(units.loss.dtype),
            outputs=outputs,
            features={name: value.detach() for name, value in self.features.items()},
            targets=targets,
            index=self.index,
            progress=progress,
            real=real,
            lengths=self.lengths,
        )


class Student:
    """A torch module with its loss per unit and the submodules that the teacher may look into.

    ``loss``: (outputs, targets) -> [U], ([U], sizes [U]) or Units.  ``taps``: names of submodules, as
    ``named_modules()`` prints them; the last one is the deepest.  ``time_axes``: the real positions of a
    tap over time, for padded batches.  Raises KeyError for an unknown tap, ValueError where no parameter
    is trainable or the module is compiled or wrapped.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: UnitLoss = cross_entropy,
        *,
        taps: Sequence[str] = (),
        time_axes: TimeAxes | None = None,
    ) -> None:
        _refuse_wrapped(module)
        if not any(p.requires_grad for p in module.parameters()):
            raise ValueError("the student has no trainable parameter: requires_grad is False for all of them")
        if isinstance(taps, str):
            raise TypeError(f"taps is a sequence of names, got the string {taps!r}; write ({taps!r},)")
        known = {name for name, _ in module.named_modules() if name}
        for tap in taps:
            if tap not in known:
                raise KeyError(f"unknown tap {tap!r}.{did_you_mean(tap, known)}")
        self.module = module
        self.loss = loss
        self.taps = tuple(taps)
        self.time_axes = time_axes

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
        module = self.module if module is None else module
        return self._forward(batch, module, lambda: module(*batch.inputs), taps)

    def functional(
        self, batch: Batch, parameters: Mapping[str, Tensor], buffers: dict[str, Tensor], *, taps: bool = True
    ) -> Forward:
        """Run on other parameters; ``buffers`` (clones) take the running statistics, not the module."""
        values = {**parameters, **buffers}
        return self._forward(
            batch, self.module, lambda: functional_call(self.module, values, batch.inputs), taps
        )

    def _forward(self, batch: Batch, module: nn.Module, call: Callable[[], Any], taps: bool) -> Forward:
        seen: dict[str, TapReading] = {}
        with _tapped(module, self.taps if taps else (), batch, self.time_axes, seen):
            outputs = call()
        units = self._units(outputs, batch)
        features = {tap: unit_features(reading, units) for tap, reading in seen.items()}
        lengths = {tap: source_lengths(reading, units) for tap, reading in seen.items()}
        known = {tap: length for tap, length in lengths.items() if length is not None}
        return Forward(units, outputs, features, known, batch)

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

    def spec(self, batch: Batch, *, class_counts: Sequence[int] | None = None) -> StateSpec:
        """Sizes of this student's states, measured on one batch; changes nothing."""
        with torch.no_grad(), forked_rng(self.device):
            forward = self.functional(batch, {}, self.buffers())
        return StateSpec(
            features={name: value.shape[1] for name, value in forward.features.items()},
            classes=forward.outputs.shape[-1],
            dtype=forward.loss.dtype,
            device=forward.loss.device,
            sentences=forward.units.real is not None and not forward.units.each_token,
            tokens=forward.units.each_token,
            source_taps=tuple(forward.lengths),
            class_counts=None if class_counts is None else tuple(int(n) for n in class_counts),
        )


@contextmanager
def _tapped(
    module: nn.Module, taps: Sequence[str], batch: Batch, axes: TimeAxes | None, into: dict[str, TapReading]
) -> Iterator[None]:
    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            into[name] = read_tap(name, output, batch, axes)

        return hook

    handles = [module.get_submodule(name).register_forward_hook(keep(name)) for name in taps]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    silent = [name for name in taps if name not in into]
    if silent:
        raise ValueError(f"tap {silent[0]!r} is never called in the student's forward pass; choose another")
    ordered = {name: into[name] for name in taps}  # the order of the taps, not of the calls
    into.clear()
    into.update(ordered)


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


@contextmanager
def forked_rng(device: torch.device) -> Iterator[None]:
    """Random draws inside leave the global generators (CPU and the student's device) as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@dataclass(frozen=True)
class RandomState:
    """The global generators at one moment, to draw the same dropout masks again."""

    cpu: Tensor
    cuda: Tensor | None

    @staticmethod
    def of(device: torch.device) -> RandomState:
        """Take the state of the CPU's and the student's generator."""
        cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return RandomState(torch.get_rng_state(), cuda)

    def restore(self, device: torch.device) -> None:
        """Put both generators back."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, device)


@contextmanager
def differentiable() -> Iterator[None]:
    """Attention in a form with double backward and forward-mode AD; fused kernels have neither."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
