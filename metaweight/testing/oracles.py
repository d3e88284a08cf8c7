"""Slow ways to the numbers that engines must give: real steps of torch's optimizers, and differences."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer

from metaweight.core.contracts import Batch
from metaweight.core.randomness import forked_rng
from metaweight.engines.window import Rates
from metaweight.student.student import Student

UnitLoss = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> [U]."""


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """[U, C], [U] -> [U]."""
    return F.cross_entropy(outputs, targets, reduction="none")


def plain_step(
    module: nn.Module,
    optimizer: Optimizer,
    train: Batch,
    weights: Tensor,
    max_norm: float | None = None,
    *,
    loss: UnitLoss = cross_entropy,
) -> None:
    """What a user writes: weighted loss, backward, clip, step."""
    optimizer.zero_grad()
    (weights * loss(train.call(module), train.targets)).mean().backward()
    if max_norm is not None:
        torch.nn.utils.clip_grad_norm_(module.parameters(), max_norm)
    optimizer.step()


def twin(module: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
    """Deep copies of both that belong together."""
    return copy.deepcopy((module, optimizer))


@dataclass(frozen=True)
class RealSteps:
    """K steps that copies of a student and its torch optimizer take, and the meta loss there.

    The masks are those that the generators give next, each time the same.
    """

    student: Student
    optimizer: Optimizer
    train: Sequence[Batch]
    meta: Batch
    max_norm: float | None = None
    rates: Rates | None = None
    """K times the learning rate of each parameter group."""
    scope: Collection[str] | None = None
    """Submodules; of one step, all other parameters keep the step that they take at unmoved weights."""
    loss: UnitLoss = cross_entropy

    def taken(self, weights: Sequence[Tensor]) -> tuple[nn.Module, Optimizer]:
        """Both copies after the steps."""
        module, own = twin(self.student.module, self.optimizer)
        with sdpa_kernel(SDPBackend.MATH):
            for step, (batch, w) in enumerate(zip(self.train, weights, strict=True)):
                for number, group in enumerate(own.param_groups):
                    group["lr"] = group["lr"] if self.rates is None else self.rates[step][number]
                plain_step(module, own, batch, w, self.max_norm, loss=self.loss)
        return module, own

    def meta_loss(self, weights: Sequence[Tensor], still: Mapping[str, Tensor] | None = None) -> float:
        """The mean loss on the meta batch after the steps, with the parameters ``still`` put back."""
        with forked_rng(self.student.device), sdpa_kernel(SDPBackend.MATH):
            module, _ = self.taken(weights)
            with torch.no_grad():
                for name, value in (still or {}).items():
                    module.get_parameter(name).copy_(value)
                return float(self.loss(self.meta.call(module), self.meta.targets).mean())

    def slopes(self, weights: Sequence[Tensor], *, h: float = 1e-4) -> list[Tensor]:
        """dL_meta/dw for every weight of every step."""
        still, sizes = self._still(weights), [len(w) for w in weights]
        moved = torch.cat(list(weights))
        return list(differences(lambda w: self.meta_loss(w.split(sizes), still), moved, h=h).split(sizes))

    def _still(self, weights: Sequence[Tensor]) -> dict[str, Tensor]:
        if self.scope is None:
            return {}
        with forked_rng(self.student.device):
            module, _ = self.taken(weights)
        inside = {id(p) for part in self.scope for p in module.get_submodule(part).parameters()}
        return {name: p.detach() for name, p in module.named_parameters() if id(p) not in inside}


def differences(function: Callable[[Tensor], float], at: Tensor, *, h: float = 1e-4) -> Tensor:
    """The gradient of a scalar function at ``at`` [n], by central differences of order 4."""

    def slope(step: Tensor) -> float:
        near = function(at + step) - function(at - step)
        far = function(at + 2 * step) - function(at - 2 * step)
        return (8 * near - far) / (12 * h)

    return torch.tensor([slope(h * unit) for unit in torch.eye(len(at), dtype=at.dtype)], dtype=at.dtype)


def relative(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|."""
    return float((a - b).norm() / b.norm())


def live_tensors(student: Student, optimizer: Optimizer) -> dict[str, Tensor]:
    """Clones of everything that an engine must leave alone, by name."""
    module = student.module
    live = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    live |= {f"{name}.grad": p.grad for name, p in module.named_parameters() if p.grad is not None}
    for number, state in enumerate(optimizer.state.values()):
        live |= {f"{key} of parameter {number}": v for key, v in state.items() if isinstance(v, Tensor)}
    live["the random state"] = torch.get_rng_state()
    live["the training mode"] = torch.tensor([part.training for part in module.modules()])
    return {name: value.detach().clone() for name, value in live.items()}
