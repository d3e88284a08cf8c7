"""What an iteration works on, live: student, optimizer, teacher; and all that it does to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from metaweight.core.contracts import Batch, Center, Forward, NonFiniteError, StudentState
from metaweight.core.randomness import RandomState, forked_rng
from metaweight.core.reads import settle, together
from metaweight.engines.base import Engine, Problem, Recorded, Weigh, attention_for, virtual_pass
from metaweight.engines.checks import EngineError, require_finite_losses
from metaweight.engines.gradient import HyperGradient, hypergradient
from metaweight.engines.one_step import joined_gradients
from metaweight.engines.scope import scope_of
from metaweight.engines.window import Rates
from metaweight.reweighter.relabelling import NOTHING, Moved, moved_by
from metaweight.reweighter.spent import Spent
from metaweight.reweighter.teaching import Teaching
from metaweight.reweighter.window import Seen
from metaweight.student.student import Student
from metaweight.teachers.base import Teacher, weighs_meta

T = TypeVar("T")


@dataclass(frozen=True)
class Gathering:
    """How a batch's gradient joins those of the micro-batches that make one step with it."""

    share: float = 1.0
    """1 / micro-batches."""
    loss_scale: float = 1.0
    """What the gradients that are there were multiplied by."""
    moved: Moved = NOTHING
    """What labels that move add to the gradient of this step."""


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
    check_every: int
    spent: Spent
    steps: int = 0
    relabel: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """All but which gradients are used up: a copy's are."""
        return {name: value for name, value in vars(self).items() if name != "spent"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.spent = Spent(self.optimizer, self.student.parameters().values())

    @property
    def progress(self) -> float:
        """Share of training done, 0 to 1; 0 where ``total_steps`` is not known."""
        return min(self.steps / self.total_steps, 1.0) if self.total_steps else 0.0

    def settled(self, train: Batch, meta: Batch, *, again: bool) -> Engine:
        """The engine of single steps, which one that chooses tries on these batches, before anything moves.

        ``again``: whether a real step weighs the train pass anew.
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
            again=again,
        )
        return self.engine.settle(problem)

    def by_any_engine(
        self, train: Batch, meta: Batch, attempt: Callable[[Engine], T], *, again: bool = False
    ) -> T:
        """``attempt`` by the engine of single steps; where it turns out to be wrong here, by the next one.

        ``again``: see ``settled``.
        """
        while True:
            engine = self.settled(train, meta, again=again)
            try:
                return attempt(engine)
            except EngineError as error:
                if not self.engine.give_up(engine, self.student.module, error):
                    raise

    @contextmanager
    def train_pass(self, batch: Batch, engine: Engine, *, backward: bool) -> Iterator[Recorded]:
        """The student's forward pass, shared by ``engine`` and the real step inside.

        ``backward``: whether the real step backpropagates through it.
        """
        with self.statistics_kept() as (buffers, random), together():
            with attention_for(engine), engine.keeping(self.student) as kept:
                forward = self.student(batch)
            require_finite_losses("train loss", forward)
            yield Recorded(forward, buffers, random, self.student.buffers(), backward, kept)

    @contextmanager
    def virtual_pass(self, batch: Batch, engine: Engine) -> Iterator[Recorded]:
        """The pass that the student would make next, for a step that somebody else takes.

        The meta pass inside draws after it, as it would after the real one.
        """
        with forked_rng(self.student.device), together():
            with attention_for(engine):
                recorded = virtual_pass(self.student, batch, engine.keeping(self.student))
            require_finite_losses("train loss", recorded.forward)
            yield recorded

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
        gathering: Gathering | None = None,
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
            gathered=self.gathered(gathering),
            share=1.0 if gathering is None else gathering.share,
            check_every=self.check_every,
            scale=self.teacher.slope_scale,
            weigh_meta=self.teacher.meta_weights if weighs_meta(self.teacher) else None,
        )

    def gathered(self, gathering: Gathering | None = None) -> dict[str, Tensor]:
        """Parameter name -> gradient that was gathered since the last step, without its loss scale.

        The mean over processes: what DistributedDataParallel makes of them in the last backward of a step,
        and ``fully_shard`` in each; where parameters are sharded, the shards here.
        """
        parameters, processes = self.student.parameters(), self.student.processes
        own = self.spent.gathered(parameters)
        if self.student.sharded is None and processes.size > 1 and processes.any(bool(own)):
            own = processes.summed(own, parameters, 1 / processes.size)
        if gathering is None:
            return own
        if gathering.loss_scale != 1.0:
            own = {name: value / gathering.loss_scale for name, value in own.items()}
        moved = gathering.moved.gradient
        return own | {name: own[name] + value if name in own else value for name, value in moved.items()}

    def real_step(
        self,
        forward: Forward,
        weights: Tensor,
        gradient: Mapping[str, Tensor] | None = None,
        moved: Moved = NOTHING,
    ) -> None:
        """Step on the weighted loss, and on the gradient that was gathered since the last step.

        ``weights`` [U]: of the joined batch.  ``gradient``: of that loss by name, where an engine has it.
        ``moved``: what labels that move add.
        """
        settle()
        parameters, part, sharded = self.student.parameters(), forward.part, self.student.sharded
        self.spent.drop(parameters)
        if gradient is None and part.whole and sharded is None:
            (weights * forward.loss).mean().backward()
        else:
            if gradient is None:
                gradient = joined_gradients(self.student, forward, weights, parameters)
            if not part.whole and sharded is None:
                self._put_gathered(parameters)
            self._add(gradient, parameters)
        self._add(moved.gradient, parameters)
        if self.max_norm is not None:
            held = [p for group in self.optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(held, self.max_norm)
        self.optimizer.step()
        if sharded is not None:
            sharded.reshard()
        self.spent.drop(parameters)  # what is gathered next is not to come on top
        self.spent.mark(parameters.values())  # those that another optimizer moves

    def _add(self, gradient: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
        """``gradient`` by name comes on top of what is there."""
        sharded = self.student.sharded
        for name, value in gradient.items():
            own = value if sharded is None else sharded.of_shard(name, value)
            there = parameters[name].grad
            parameters[name].grad = own if there is None else there + own

    def _put_gathered(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """What each process has gathered becomes, in all of them, the mean of it."""
        for name, value in self.gathered().items():
            parameters[name].grad = value

    def moved(self, forward: Forward, buffers: Mapping[str, Tensor], random: RandomState) -> Moved:
        """What labels that move add to the step on a train pass, see ``moved_by``; nothing unless asked."""
        if not self.relabel:
            return NOTHING
        state = forward.joined(self.progress)
        return moved_by(self.student, self.teacher, state, forward, buffers, random)

    def taken(self, state: StudentState, weights: Tensor) -> Seen:
        """Count a real step, and let the teacher take note of it."""
        with torch.no_grad():
            self.teacher.track(state)
        self.steps += 1
        return Seen(state, weights)

    def show(self, meta: Batch) -> Tensor:
        """Let the teacher look at the meta batch, without a trace in module or generators; its mean loss."""
        forward = self.student.glance(meta, plain=False)
        require_finite_losses("meta loss", forward)
        state = forward.joined(self.progress)
        settle()
        self.teacher.observe(state)
        return state.loss.mean()

    @contextmanager
    def statistics_kept(self) -> Iterator[tuple[dict[str, Tensor], RandomState]]:
        """Gives clones of the buffers and the generators; an error of an engine or a NaN inside puts both
        back."""
        buffers, random = self.student.buffers(), RandomState.of(self.student.device)
        try:
            yield buffers, random
        except (NonFiniteError, EngineError):
            self.student.put(buffers)
            random.restore(self.student.device)
            self.spent.drop(self.student.parameters())
            raise


def set_rates(optimizer: Optimizer, rates: Rates | None, number: int) -> None:
    """Give each parameter group its learning rate of the step ``number`` of a window."""
    if rates is not None:
        for group, rate in zip(optimizer.param_groups, rates[number], strict=True):
            group["lr"] = rate
