"""The steps of a run, each a function of its number, and how one is taken."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.contracts import Batch, Forward
from metaweight.engines.checks import require_finite_losses
from metaweight.student.student import Student
from metaweight.training.history import Source
from metaweight.training.learning_rate import RateCourse


@dataclass(frozen=True)
class Steps:
    """What every step of a run is made of."""

    source: Source
    epochs: int
    rates: RateCourse
    max_norm: float | None
    weights: Tensor
    """[N], of the samples, in the dtype of their losses."""

    def __len__(self) -> int:
        return self.epochs * len(self.source)

    def place(self, step: int) -> tuple[int, int]:
        """(epoch, position) of a step, from 0."""
        return divmod(step, len(self.source))

    def batch(self, step: int) -> Batch:
        """What the step trains on."""
        return self.source.batch(*self.place(step))

    def weights_of(self, forward: Forward) -> Tensor:
        """[U], the weight of each unit: that of its sample."""
        return self.weights[forward.index.to(self.weights.device)].to(forward.loss)

    def set_rates(self, optimizer: Optimizer, step: int) -> None:
        """Give the parameter groups their learning rates of a step."""
        for group, rate in zip(optimizer.param_groups, self.rates.at(step), strict=True):
            group["lr"] = rate

    def take(self, student: Student, optimizer: Optimizer, step: int) -> Tensor:
        """A real step, as anybody writes it: the unit losses before it [U], detached.

        Raises NonFiniteError where one is NaN or infinite.
        """
        self.set_rates(optimizer, step)
        forward = student(self.batch(step), taps=False)
        require_finite_losses("train loss", forward)
        for p in student.parameters().values():
            p.grad = None
        (self.weights_of(forward) * forward.loss).mean().backward()
        if self.max_norm is not None:
            held = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(held, self.max_norm)
        optimizer.step()
        return forward.loss.detach()
