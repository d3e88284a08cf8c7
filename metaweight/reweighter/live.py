"""What an iteration works on, live: student, optimizer, teacher; and all that it does to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.contracts import Batch, Center, Forward, NonFiniteError, StudentState
from metaweight.core.randomness import RandomState, forked_rng
from metaweight.engines.base import Engine, Problem, Recorded, Weigh, attention_for
from metaweight.engines.checks import require_finite
from metaweight.engines.gradient import HyperGradient, hypergradient
from metaweight.engines.scope import scope_of
from metaweight.engines.window import Rates
from metaweight.reweighter.teaching import Teaching
from metaweight.reweighter.window import Seen
from metaweight.student.student import Student
from metaweight.teachers.base import Teacher


@dataclass
class Live:
    """The parts of a Reweighter, with its options of the inner step; ``steps`` counts the real ones."""

    student: Student
    optimizer: Optimizer
    teacher: Teacher
    learned: tuple[Tensor, ...]
    """The teacher's trainable parameters."""
    teaching: Teaching
    engine: Engine
    center: Center
    anchor: float
    max_norm: float | None
    scope: Sequence[str] | None
    total_steps: int | None
    steps: int = 0

    @property
    def progress(self) -> float:
        """Share of training done, 0 to 1; 0 where ``total_steps`` is not known."""
        return min(self.steps / self.total_steps, 1.0) if self.total_steps else 0.0

    def settled(self, train: Batch, meta: Batch) -> Engine:
        """The engine of single steps, which one that chooses tries on these batches, before anything moves.

        All iterations are then made in one way, and a resumed run goes on to the last bit.
        """
        problem = Problem(
            self.student,
            self.optimizer,
            (train,),
            meta,
            lambda state: torch.ones_like(state.loss),
            self.max_norm,
            self.progress,
            scope=scope_of(self.student, self.scope),
        )
        return self.engine.settle(problem)

    @contextmanager
    def train_pass(self, batch: Batch, engine: Engine, *, backward: bool) -> Iterator[Recorded]:
        """The student's forward pass, shared by ``engine`` and the real step inside.

        ``backward``: whether the real step backpropagates through it.
        """
        with self.statistics_kept() as buffers:
            random = RandomState.of(self.student.device)
            with attention_for(engine), engine.keeping(self.student) as kept:
                forward = self.student(batch)
            require_finite("train loss", forward.loss, forward.index)
            yield Recorded(forward, buffers, random, backward, kept)

    def solve(
        self,
        train: Sequence[Batch],
        meta: Batch,
        weigh: Weigh,
        wrt: Sequence[Tensor],
        engine: Engine,
        *,
        recorded: Recorded | None = None,
        rates: Rates | None = None,
    ) -> HyperGradient:
        """The virtual steps, the meta batch after them, and the gradient for ``wrt``."""
        return hypergradient(
            self.student,
            self.optimizer,
            train,
            meta,
            weigh,
            wrt,
            engine,
            center=self.center,
            anchor=self.anchor,
            max_norm=self.max_norm,
            progress=self.progress,
            recorded=recorded,
            scope=self.scope,
            rates=rates,
        )

    def real_step(
        self, forward: Forward, weights: Tensor, gradient: Mapping[str, Tensor] | None = None
    ) -> None:
        """Step on the weighted loss; ``gradient``: of that loss by name, where an engine has it already."""
        self.student.module.zero_grad(set_to_none=True)
        if gradient is None:
            (weights * forward.loss).mean().backward()
        else:
            parameters = self.student.parameters()
            for name, value in gradient.items():
                parameters[name].grad = value
        if self.max_norm is not None:
            held = [p for group in self.optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(held, self.max_norm)
        self.optimizer.step()

    def taken(self, state: StudentState, weights: Tensor) -> Seen:
        """Count a real step, and let the teacher take note of it."""
        with torch.no_grad():
            self.teacher.track(state)
        self.steps += 1
        return Seen(state, weights)

    def show(self, meta: Batch) -> float:
        """Let the teacher look at the meta batch, without a trace in module or generators; its mean loss."""
        with torch.no_grad(), forked_rng(self.student.device):
            forward = self.student.functional(meta, {}, self.student.buffers())
        require_finite("meta loss", forward.loss, forward.index)
        state = forward.state(self.progress)
        self.teacher.observe(state)
        return float(state.loss.mean())

    @contextmanager
    def statistics_kept(self) -> Iterator[dict[str, Tensor]]:
        """Gives clones of the buffers; a NonFiniteError inside puts them back and leaves no gradient."""
        buffers = self.student.buffers()
        try:
            yield buffers
        except NonFiniteError:
            for name, buffer in self.student.module.named_buffers():
                buffer.copy_(buffers[name])
            self.student.module.zero_grad(set_to_none=True)
            raise


def set_rates(optimizer: Optimizer, rates: Rates | None, number: int) -> None:
    """Give each parameter group its learning rate of the step ``number`` of a window."""
    if rates is not None:
        for group, rate in zip(optimizer.param_groups, rates[number], strict=True):
            group["lr"] = rate
