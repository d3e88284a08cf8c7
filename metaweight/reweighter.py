"""The Reweighter: one meta-iteration of a student and its teacher."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.contracts import Batch, CollapseWarning, NonFiniteError, StepReport, StudentState
from metaweight.engines.base import (
    Engine,
    HyperGradient,
    Recorded,
    attention_for,
    build_engine,
    checked_weights,
    hypergradient,
    keeping,
    require_finite,
)
from metaweight.metrics.weights import weight_summary
from metaweight.registry import did_you_mean
from metaweight.replay import RandomState, forked_rng
from metaweight.student import Forward, Student
from metaweight.teachers.base import Teacher
from metaweight.teachers.inputs import unit_loss

SCHEDULES = ("lookahead", "online")


@runtime_checkable
class ReadsHypergradient(Protocol):
    """A teacher that turns the batch's own hypergradient into weights (L2RW); it has no parameters."""

    def from_hypergradient(self, hypergradient: Tensor) -> Tensor:
        """dL_meta/dw at zero weights [U] -> weights [U]."""
        ...


class Reweighter:
    """Trains a student on weighted losses and its teacher on meta-gradients.

    ``engine``: how the meta-gradient is had.  ``schedule``: ``lookahead`` takes a virtual step, updates
    the teacher and then takes the real step with the new weights; ``online`` takes the real step itself
    as the inner step.  ``every=N`` updates the teacher each N-th iteration.  ``center`` subtracts the
    batch's mean from the hypergradient of the weights (None: as the teacher says); ``anchor`` is the
    strength of the pull of the mean weight to 1 that takes its place.  ``max_norm`` clips
    the student's gradient in the virtual and in the real step.  ``total_steps`` gives the teacher the
    share of training done.  Raises ValueError for options that do not go together.
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
        center: bool | None = None,
        anchor: float = 1.0,
        max_norm: float | None = None,
        total_steps: int | None = None,
    ) -> None:
        if schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {schedule!r}.{did_you_mean(schedule, SCHEDULES)}")
        if unroll != 1:
            raise ValueError(
                f"this version's schedules take unroll=1, got {unroll}; hypergradient() takes K batches"
            )
        if every < 1:
            raise ValueError(f"every is 1 or more, got {every}")
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"max_norm is positive or None, got {max_norm}")
        self._learned = [p for p in teacher.parameters() if p.requires_grad]
        self._probes = isinstance(teacher, ReadsHypergradient)
        if self._learned and teacher_optimizer is None:
            raise ValueError("the teacher has parameters: give teacher_optimizer, or freeze them")
        if self._probes and (schedule != "lookahead" or every != 1):
            raise ValueError(
                "this teacher reads its weights off each batch's hypergradient: lookahead, every=1"
            )
        self.student, self.teacher = student, teacher
        self.optimizer, self.teacher_optimizer = optimizer, teacher_optimizer
        self.engine, self.schedule, self.every = build_engine(engine), schedule, every
        self.center = teacher.centered if center is None else center
        self.anchor = anchor
        self.max_norm, self.total_steps = max_norm, total_steps
        self.steps = 0
        self._collapse = CollapseWatch()
        self._watches_meta = type(teacher).observe is not Teacher.observe

    @property
    def needs_meta(self) -> bool:
        """Whether the teacher learns or looks at the meta set at all."""
        return bool(self._learned) or self._probes or self._watches_meta

    def step(self, train: Batch, meta: Batch | None = None, *, teach: bool = True) -> StepReport:
        """One iteration on ``train`` with the trusted batch ``meta``; ``teach=False`` is a plain step.

        Raises NonFiniteError for a NaN or infinite loss, weight or hypergradient, before anything has
        changed: parameters, both optimizers and the running statistics are those of the last good step.
        """
        if not isinstance(train, Batch):
            raise TypeError(f"step takes one Batch (K = 1), got {type(train).__name__}")
        due = teach and self.needs_meta and self.steps % self.every == 0
        if due and meta is None:
            raise ValueError("this teacher needs a meta batch: step(train, meta)")
        buffers, random = self.student.buffers(), RandomState.of(self.student.device)
        try:
            report = self._step(train, meta if due else None, teach, buffers, random)
        except NonFiniteError:
            for name, buffer in self.student.module.named_buffers():
                buffer.copy_(buffers[name])
            self.student.module.zero_grad(set_to_none=True)
            raise
        self.steps += 1
        return report

    def _step(
        self, train: Batch, meta: Batch | None, teach: bool, buffers: dict[str, Tensor], random: RandomState
    ) -> StepReport:
        differentiates = meta is not None and (bool(self._learned) or self._probes)
        if differentiates:
            with attention_for(self.engine), keeping(self.engine, self.student) as kept:
                forward = self.student(train)
        else:
            forward = self.student(train)
        require_finite("train loss", forward.loss, forward.index)
        state = forward.state(self.progress)
        gradient = None
        result: HyperGradient | None = None
        stats: dict[str, float] = {}
        if meta is not None and differentiates:
            online = self.schedule == "online"
            recorded = Recorded(forward, buffers, random, keep_graph=not online, kept=kept)
            if self._probes:
                result, weights = self._probe(train, meta, recorded)
            else:
                result = self._solve(train, meta, recorded, self.teacher, self._learned)
                weights = result.weights[0]
            stats.update(result.stats)
            if online:
                gradient = result.gradient
            elif not self._probes:
                self._update_teacher(result)
                weights = self._weigh(state)
        else:
            weights = self._weigh(state) if teach else torch.ones_like(state.loss)
            if meta is not None:
                result_state = self._meta_state(meta)
                self.teacher.observe(result_state)
                stats["meta_loss"] = float(result_state.loss.mean())
        self._real_step(forward, weights, gradient)
        if result is not None and gradient is not None:
            self._update_teacher(result)
        self.teacher.track(state)
        stats.update(weight_summary(weights))
        stats["size"] = float(state.size.sum())
        if self._learned and teach and len(weights) > 1:
            self._collapse.see(stats["weight_mean"], stats["weight_spread"])
        meta_loss = float(result.meta_loss) if result is not None else stats.pop("meta_loss", None)
        losses, train_loss = unit_loss(state), float(state.loss.mean())
        return StepReport(weights, losses, train_loss, meta_loss, stats, state.index)

    def _solve(
        self, train: Batch, meta: Batch, recorded: Recorded, weigh: Any, wrt: Sequence[Tensor]
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
        )

    def _probe(self, train: Batch, meta: Batch, recorded: Recorded) -> tuple[HyperGradient, Tensor]:
        """L2RW: the hypergradient at zero weights gives the weights."""
        zero = torch.zeros_like(recorded.forward.loss.detach()).requires_grad_()
        result = self._solve(train, meta, recorded, lambda _state: zero, [zero])
        assert isinstance(self.teacher, ReadsHypergradient)
        weights = checked_weights(
            self.teacher.from_hypergradient(result.grads[0]).detach(), recorded.forward.index
        )
        assert result.meta_state is not None
        self.teacher.observe(result.meta_state)
        return result, weights

    def _weigh(self, state: StudentState) -> Tensor:
        with torch.no_grad():
            return checked_weights(self.teacher(state), state.index)

    def _meta_state(self, meta: Batch) -> StudentState:
        """The meta batch's state at the present parameters, without a trace in module or generators."""
        with torch.no_grad(), forked_rng(self.student.device):
            forward = self.student.functional(meta, {}, self.student.buffers())
        require_finite("meta loss", forward.loss, forward.index)
        return forward.state(self.progress)

    def _update_teacher(self, result: HyperGradient) -> None:
        assert self.teacher_optimizer is not None
        assert result.meta_state is not None
        for parameter, grad in zip(self._learned, result.grads, strict=True):
            parameter.grad = grad
        self.teacher_optimizer.step()
        self.teacher_optimizer.zero_grad(set_to_none=True)
        self.teacher.observe(result.meta_state)

    def _real_step(self, forward: Forward, weights: Tensor, gradient: Any) -> None:
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
            "teacher_optimizer": None
            if self.teacher_optimizer is None
            else self.teacher_optimizer.state_dict(),
            "steps": self.steps,
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
        self._collapse.load_state_dict(state["collapse"])


class CollapseWatch:
    """Warns once when a learned teacher's weights stay equal within each batch long after the start."""

    def __init__(self, *, patience: int = 100, spread: float = 0.01) -> None:
        self.spread = spread
        self.recent: deque[tuple[float, float]] = deque(maxlen=patience)
        self.seen = 0
        self.warned = False

    def see(self, mean: float, spread: float) -> None:
        """Take one iteration's mean weight and relative spread (std / mean)."""
        self.recent.append((mean, spread))
        self.seen += 1
        patience = self.recent.maxlen or 0
        if self.warned or self.seen < 2 * patience or max(s for _, s in self.recent) > self.spread:
            return
        self.warned = True
        warnings.warn(
            f"the weights have collapsed to one value (mean {mean:.2f}, spread below {self.spread:.0%} for "
            f"{patience} iterations): the teacher selects nothing. Try center=True, normalize='batch', "
            "a lower teacher learning rate, or a teacher that sees more than the loss",
            CollapseWarning,
            stacklevel=4,
        )

    def state_dict(self) -> dict[str, Any]:
        """Counters, for a checkpoint."""
        return {"recent": list(self.recent), "seen": self.seen, "warned": self.warned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting from a checkpoint."""
        self.recent.clear()
        self.recent.extend((float(m), float(s)) for m, s in state["recent"])
        self.seen, self.warned = int(state["seen"]), bool(state["warned"])
