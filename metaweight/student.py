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

from metaweight.contracts import Batch, StateSpec, StudentState
from metaweight.losses import UnitLoss, cross_entropy
from metaweight.registry import did_you_mean


@dataclass(frozen=True)
class Forward:
    """One pass of a student over a batch, with its graph."""

    loss: Tensor
    size: Tensor
    outputs: Tensor
    features: Mapping[str, Tensor]
    batch: Batch

    def state(self, progress: float = 0.0) -> StudentState:
        """What the teacher may see of it, detached."""
        features = {name: value.detach() for name, value in self.features.items()}
        seen = (self.loss.detach(), self.size.detach(), self.outputs.detach())
        return StudentState(*seen, features, self.batch.targets, self.batch.index, progress)


class Student:
    """A torch module with its loss per unit and the submodules that the teacher may look into.

    ``loss``: (outputs, targets) -> [U] or ([U], sizes [U]).  ``taps``: names of submodules, as
    ``named_modules()`` prints them; the last one is the deepest.  Raises KeyError for an unknown tap,
    ValueError where no parameter is trainable or the module is compiled or wrapped.
    """

    def __init__(
        self, module: nn.Module, loss: UnitLoss = cross_entropy, *, taps: Sequence[str] = ()
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
        features: dict[str, Tensor] = {}
        with _tapped(module, self.taps if taps else (), features):
            outputs = call()
        loss, size = self._unit_loss(outputs, batch)
        return Forward(loss, size, outputs, features, batch)

    def _unit_loss(self, outputs: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        result = self.loss(outputs, batch.targets)
        loss, size = result if isinstance(result, tuple) else (result, torch.ones_like(result.detach()))
        if loss.shape != (len(batch),):
            raise ValueError(
                f"the student's loss gives one value a unit, shape [{len(batch)}], got {tuple(loss.shape)}; "
                "use reduction='none'"
            )
        return loss, size

    def spec(self, batch: Batch, *, class_counts: Sequence[int] | None = None) -> StateSpec:
        """Sizes of this student's states, measured on one batch; changes nothing."""
        with torch.no_grad(), forked_rng(self.device):
            forward = self.functional(batch, {}, self.buffers())
        return StateSpec(
            features={name: value.shape[1] for name, value in forward.features.items()},
            classes=forward.outputs.shape[-1],
            dtype=forward.loss.dtype,
            device=forward.loss.device,
            class_counts=None if class_counts is None else tuple(int(n) for n in class_counts),
        )


def pool(value: Any) -> Tensor:
    """A tap's output as [U, D]: the mean over space [U, D, H, W] or time [U, T, D]; a tuple's first item."""
    if isinstance(value, tuple):
        value = value[0]
    if not isinstance(value, Tensor) or value.dim() < 2:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"a tap's output is a tensor [U, ...] with two dimensions or more, got {shape}")
    if value.dim() == 2:
        return value
    return value.mean(dim=1) if value.dim() == 3 else value.flatten(2).mean(dim=2)


@contextmanager
def _tapped(module: nn.Module, taps: Sequence[str], into: dict[str, Tensor]) -> Iterator[None]:
    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            into[name] = pool(output)

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
