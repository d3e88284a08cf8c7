"""The steps of a run, each a function of its number, and how one is taken."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.contracts import Batch, Forward
from metaweight.core.digest import digest
from metaweight.core.randomness import differentiable
from metaweight.engines.checks import require_finite_losses
from metaweight.influence.teaching import Teaching
from metaweight.influence.visits import Visits
from metaweight.student.student import Named, Student
from metaweight.training.history import Source
from metaweight.training.learning_rate import LearningRate, RateCourse


@dataclass(frozen=True)
class Steps:
    """What every step of a run is made of."""

    source: Source
    epochs: int
    rates: RateCourse
    max_norm: float | None
    weights: Tensor
    """[N], of the samples, in the dtype of their losses; where there are ``visits``, how many they are."""
    visits: Visits | None = None
    """What each step was taken with, where weights change from step to step."""
    teaching: Teaching | None = None
    """A teacher that gives the weights."""

    @staticmethod
    def of(
        source: Source,
        optimizer: Optimizer,
        epochs: int,
        learning_rate: LearningRate | None,
        max_norm: float | None,
        weights: Tensor | None,
        samples: int | None,
    ) -> Steps:
        """Raises ValueError for no epoch, and for weights that are no finite numbers [N].

        ``weights`` None: 1 for each of ``samples``; None: as many as there are in all epochs, which are read
        for it.
        """
        if epochs < 1:
            raise ValueError(f"a run has 1 epoch or more, got {epochs}")
        if weights is None:
            weights = torch.ones(samples_of(source, epochs) if samples is None else samples).double()
        if weights.dim() != 1 or not bool(weights.isfinite().all()):
            raise ValueError(f"weights are finite numbers [N], got {tuple(weights.shape)}")
        course = LearningRate() if learning_rate is None else learning_rate
        rates = RateCourse(optimizer, course, steps=epochs * len(source), steps_per_epoch=len(source))
        return Steps(source, epochs, rates, max_norm, weights.detach().cpu())

    def __len__(self) -> int:
        return self.epochs * len(self.source)

    def place(self, step: int) -> tuple[int, int]:
        """(epoch, position) of a step, from 0."""
        return divmod(step, len(self.source))

    def batch(self, step: int) -> Batch:
        """What the step trains on."""
        return self.source.batch(*self.place(step))

    def name(self) -> str:
        """Stands for the weights."""
        if self.teaching is not None:
            return self.teaching.name()
        return "by step" if self.visits is not None else digest(self.weights)

    def look(self, student: Student) -> None:
        """What a teacher does before the pass of a step."""
        if self.teaching is not None:
            self.teaching.look(student)

    def forward(self, student: Student, step: int) -> Forward:
        """The pass of a step, and what a teacher needs for its weights."""
        return student(self.batch(step), taps=self.teaching is not None)

    def weights_of(self, step: int, forward: Forward, first: int = 0) -> Tensor:
        """[U], the weight of each unit at a step: that of its sample, a teacher's, or what was recorded.

        ``first``: how many units of the step's batch come before those of ``forward``.
        """
        if self.teaching is not None:
            return self.teaching.weights(step, forward).to(forward.loss)
        if self.visits is not None:
            return self.visits.of(step).weights[first : first + len(forward.loss)].to(forward.loss)
        return self.weights[forward.index.to(self.weights.device)].to(forward.loss)

    def take(
        self,
        student: Student,
        optimizer: Optimizer,
        step: int,
        note: Callable[[Named, Tensor], None] | None = None,
    ) -> Tensor:
        """A real step, as anybody writes it: the unit losses before it [U], detached.

        ``note``: told the gradient by name before clipping, which changes after that, and the losses.
        Raises NonFiniteError where one is NaN or infinite.
        """
        self.rates.set(step)
        visit = None if self.visits is None else self.visits.of(step)
        self.look(student)
        with differentiable() if visit is not None and visit.written_out else nullcontext():
            forward = self.forward(student, step)
        require_finite_losses("train loss", forward)
        for p in student.parameters().values():
            p.grad = None
        (self.weights_of(step, forward) * forward.loss).mean().backward()
        if note is not None:
            gradient = {n: p.grad for n, p in student.parameters().items() if p.grad is not None}
            note(gradient, forward.loss.detach())
        if self.max_norm is not None:
            held = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(held, self.max_norm)
        optimizer.step()
        if visit is not None and visit.after is not None:
            visit.after.restore(student.device)
        return forward.loss.detach()


def samples_of(source: Source, epochs: int) -> int:
    """One more than the largest position in all epochs, which are read for it."""
    places = product(range(epochs), range(len(source)))
    return 1 + max(int(source.batch(epoch, position).index.max()) for epoch, position in places)
