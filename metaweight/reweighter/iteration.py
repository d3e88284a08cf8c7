"""The Reweighter: one meta-iteration of a student and its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.contracts import Batch, Center, StepReport, StudentState, require_batch
from metaweight.core.randomness import RandomState
from metaweight.engines.auto import Auto
from metaweight.engines.base import (
    Engine,
    HyperGradient,
    Recorded,
    attention_for,
    build_engine,
    hypergradient,
    keeping,
    weighs_again,
)
from metaweight.engines.centring import checked_center
from metaweight.engines.checks import checked_weights, require_finite
from metaweight.engines.scope import scope_of
from metaweight.engines.window import Rates, checked_rates
from metaweight.reweighter.collapse import CollapseWatch
from metaweight.reweighter.live import real_step, set_rates, state_now, statistics_kept, update, weights_of
from metaweight.reweighter.options import check_optimizers, check_options, check_unroll
from metaweight.reweighter.window import Seen, checked_window, reported
from metaweight.student.student import Student
from metaweight.teachers.base import ReadsHypergradient, Teacher


class Reweighter:
    """Trains a student on weighted losses and its teacher on meta-gradients.

    ``engine``: how the meta-gradient is had.  ``schedule``: ``lookahead`` takes virtual steps, updates
    the teacher and then takes the real steps with the new weights; ``online`` takes the real steps themselves
    as the inner steps.  ``unroll=K``: steps in a window, with one meta-gradient for all of them.
    ``every=N`` updates the teacher in each N-th window.  ``scope``: submodules that the meta-gradient goes
    through; the steps of all other parameters then count as constants (None: all).  ``center`` subtracts the
    batch's mean from the hypergradient of the weights, "class" that of each given class (None: as the teacher
    says); ``anchor`` is the strength of the pull of the mean weight to 1 that takes its place.  ``max_norm``
    clips the student's gradient in the virtual and in the real step.  ``total_steps`` gives the teacher the
    share of training done.  Raises ValueError for options that do not go together or an optimizer of other
    parameters, KeyError for an unknown submodule.
    """

    def __init__(
        self,
        student: Student,
        teacher: Teacher,
        *,
        optimizer: Optimizer,
        teacher_optimizer: Optimizer | None = None,
        engine: str | Engine = "higher",
        schedule: str = "lookahead",
        unroll: int = 1,
        every: int = 1,
        scope: Sequence[str] | None = None,
        center: Center | None = None,
        anchor: float = 1.0,
        max_norm: float | None = None,
        total_steps: int | None = None,
    ) -> None:
        check_options(schedule, every, max_norm)
        self._learned = [p for p in teacher.parameters() if p.requires_grad]
        self._probes = isinstance(teacher, ReadsHypergradient)
        if self._learned and teacher_optimizer is None:
            raise ValueError("the teacher has parameters: give teacher_optimizer, or freeze them")
        check_optimizers(list(student.parameters().values()), optimizer, self._learned, teacher_optimizer)
        if self._probes and (schedule != "lookahead" or every != 1 or unroll != 1):
            raise ValueError(
                "this teacher reads its weights off each batch's hypergradient: lookahead, every=1, unroll=1"
            )
        self.student, self.teacher = student, teacher
        self.optimizer, self.teacher_optimizer = optimizer, teacher_optimizer
        self.engine, self.schedule, self.every = build_engine(engine), schedule, every
        check_unroll(unroll, self.engine, schedule)
        scope_of(student, scope)
        self.unroll, self.scope = unroll, scope
        self.center = checked_center(teacher.centered if center is None else center)
        self.anchor = anchor
        self.max_norm, self.total_steps = max_norm, total_steps
        self.steps = 0
        """Real steps taken."""
        self.windows = 0
        """Iterations taken: calls of ``step``."""
        self._collapse = CollapseWatch()
        self._watches_meta = type(teacher).observe is not Teacher.observe

    @property
    def needs_meta(self) -> bool:
        """Whether the teacher learns or looks at the meta set at all."""
        return self.learns or self._watches_meta

    @property
    def learns(self) -> bool:
        """Whether meta-gradients are taken at all."""
        return bool(self._learned) or self._probes

    def step(
        self,
        train: Batch | Sequence[Batch],
        meta: Batch | None = None,
        *,
        teach: bool = True,
        rates: Rates | None = None,
    ) -> StepReport:
        """One iteration with the trusted batch ``meta``: a real step on each batch of ``train``, K at most.

        ``teach=False``: plain steps.  ``rates``: for each batch the learning rate of each of the optimizer's
        parameter groups, where it changes within the window; None: as they are.  The report holds the units
        of all steps, one after the other.

        Raises NonFiniteError for a NaN or infinite loss, weight or hypergradient, before anything has
        changed: parameters, both optimizers and the running statistics are those of the last good step.
        That is within the window where its real steps follow the teacher's update.
        """
        batches = checked_window(train, self.unroll)
        rates = checked_rates(rates, len(batches), self.optimizer)
        due = teach and self.needs_meta and self.windows % self.every == 0
        if due and meta is None:
            raise ValueError("this teacher needs a meta batch: step(train, meta)")
        meta = require_batch(meta) if due else None
        result: HyperGradient | None = None
        meta_loss: float | None = None
        if meta is None or not self.learns:
            seen, meta_loss = self._real_steps(batches, rates, meta, teach)
        elif len(batches) == 1:
            set_rates(self.optimizer, rates, 0)
            seen, result = self._shared_pass(batches[0], meta)
        else:
            seen, result = self._unrolled(batches, rates, meta)
        self.windows += 1
        if result is not None:
            meta_loss = float(result.meta_loss)
        report = reported(seen, meta_loss, {} if result is None else result.stats)
        if self._learned and teach and len(report.weights) > 1:
            self._collapse.see(report.stats["weight_mean"], report.stats["weight_spread"])
        return report

    def _real_steps(
        self, batches: Sequence[Batch], rates: Rates | None, meta: Batch | None = None, teach: bool = True
    ) -> tuple[list[Seen], float | None]:
        """A real step on each batch; a teacher that only looks at the meta set does so in the first one."""
        progress, meta_loss = self.progress, None
        steps: list[Seen] = []
        for number, batch in enumerate(batches):
            set_rates(self.optimizer, rates, number)
            with statistics_kept(self.student):
                forward = self.student(batch)
                require_finite("train loss", forward.loss, forward.index)
                state = forward.state(progress)
                weights = weights_of(self.teacher, state) if teach else torch.ones_like(state.loss)
                if meta is not None and number == 0:
                    meta_state = state_now(self.student, meta, progress)
                    self.teacher.observe(meta_state)
                    meta_loss = float(meta_state.loss.mean())
                real_step(self.student, self.optimizer, forward, weights, max_norm=self.max_norm)
            steps.append(self._taken(Seen(state, weights)))
        return steps, meta_loss

    def _shared_pass(self, train: Batch, meta: Batch) -> tuple[list[Seen], HyperGradient]:
        """K = 1: the engine and the real step share one pass of the student."""
        online = self.schedule == "online"
        if isinstance(self.engine, Auto) and not self.engine.settled(self.student):
            # all iterations are then made in one way, and a resumed run goes on to the last bit
            self._solve([train], meta, lambda state: torch.ones_like(state.loss), ())
        with statistics_kept(self.student) as buffers:
            random = RandomState.of(self.student.device)
            with attention_for(self.engine), keeping(self.engine, self.student) as kept:
                forward = self.student(train)
            require_finite("train loss", forward.loss, forward.index)
            state = forward.state(self.progress)
            backward_follows = not (online or weighs_again(self.engine))
            recorded = Recorded(forward, buffers, random, backward_follows, kept)
            if self._probes:
                result, weights = self._probe(train, meta, recorded)
            else:
                result = self._solve([train], meta, self.teacher, self._learned, recorded)
                weights = result.weights[0]
                if not online:
                    self._teach(result)
                    weights = weights_of(self.teacher, state)
            gradient = result.gradient if online else result.gradient_at and result.gradient_at(weights)
            real_step(
                self.student, self.optimizer, forward, weights, max_norm=self.max_norm, gradient=gradient
            )
        if online:
            self._teach(result)
        return [self._taken(Seen(state, weights))], result

    def _unrolled(
        self, batches: Sequence[Batch], rates: Rates | None, meta: Batch
    ) -> tuple[list[Seen], HyperGradient]:
        """K > 1: the engine takes the K steps by itself; ``online`` takes over where they end."""
        states: list[StudentState] = []

        def weigh(state: StudentState) -> Tensor:
            states.append(state)
            weights: Tensor = self.teacher(state)
            return weights

        if self.schedule == "lookahead":
            result = self._solve(batches, meta, self.teacher, self._learned, rates=rates)
            self._teach(result)
            # the masks of fused attention would be others than the virtual steps'
            with attention_for(self.engine):
                return self._real_steps(batches, rates)[0], result
        result = self._solve(batches, meta, weigh, self._learned, rates=rates)
        assert result.end is not None  # checked when this was built
        result.end.take_over(self.student, self.optimizer)
        self.student.module.zero_grad(set_to_none=True)
        set_rates(self.optimizer, rates, -1)
        self._teach(result)
        taken = zip(states, result.weights, strict=True)
        return [self._taken(Seen(state, weights)) for state, weights in taken], result

    def _taken(self, seen: Seen) -> Seen:
        """Count a real step, and let the teacher take note of it."""
        with torch.no_grad():
            self.teacher.track(seen.state)
        self.steps += 1
        return seen

    def _solve(
        self,
        train: Sequence[Batch],
        meta: Batch,
        weigh: Any,
        wrt: Sequence[Tensor],
        recorded: Recorded | None = None,
        rates: Rates | None = None,
    ) -> HyperGradient:
        return hypergradient(
            self.student,
            self.optimizer,
            train,
            meta,
            weigh,
            wrt,
            self.engine,
            center=self.center,
            anchor=self.anchor,
            max_norm=self.max_norm,
            progress=self.progress,
            recorded=recorded,
            scope=self.scope,
            rates=rates,
        )

    def _probe(self, train: Batch, meta: Batch, recorded: Recorded) -> tuple[HyperGradient, Tensor]:
        """L2RW: the hypergradient at zero weights gives the weights."""
        zero = torch.zeros_like(recorded.forward.loss.detach()).requires_grad_()
        result = self._solve([train], meta, lambda _state: zero, [zero], recorded)
        assert isinstance(self.teacher, ReadsHypergradient)
        weights = checked_weights(
            self.teacher.from_hypergradient(result.grads[0]).detach(), recorded.forward.index
        )
        assert result.meta_state is not None
        self.teacher.observe(result.meta_state)
        return result, weights

    def _teach(self, result: HyperGradient) -> None:
        assert self.teacher_optimizer is not None
        update(self.teacher, self.teacher_optimizer, self._learned, result)

    @property
    def progress(self) -> float:
        """Share of training done, 0 to 1; 0 where ``total_steps`` is not known."""
        return min(self.steps / self.total_steps, 1.0) if self.total_steps else 0.0

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs from here: student, teacher, optimizers, counters."""
        return {
            "student": self.student.module.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "teacher_optimizer": self.teacher_optimizer and self.teacher_optimizer.state_dict(),
            "steps": self.steps,
            "windows": self.windows,
            "collapse": self._collapse.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict()`` of a Reweighter built the same way."""
        self.student.module.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.teacher_optimizer is not None:
            self.teacher_optimizer.load_state_dict(state["teacher_optimizer"])
        self.steps = state["steps"]
        self.windows = state.get("windows", self.steps)  # one and the same before windows had K steps
        self._collapse.load_state_dict(state["collapse"])
