"""The Reweighter: one meta-iteration of a student and its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from metaweight.core.contracts import Batch, Center, StepReport, require_batch
from metaweight.engines.base import Engine, build_engine
from metaweight.engines.centring import checked_center
from metaweight.engines.scope import scope_of
from metaweight.engines.window import Rates, checked_rates
from metaweight.reweighter.checks import check_optimizers, check_options, check_unroll
from metaweight.reweighter.collapse import CollapseWatch
from metaweight.reweighter.live import Live, set_rates
from metaweight.reweighter.schedules import SCHEDULES, plain
from metaweight.reweighter.teaching import ByGradient, ByParameters
from metaweight.reweighter.window import checked_window, reported
from metaweight.student.student import Student
from metaweight.teachers.base import Teacher


class Reweighter:
    """Trains a student on weighted losses and its teacher on meta-gradients.

    ``teacher_optimizer``: None for Adam(lr=1e-3) where the teacher has parameters to train.  ``engine``: how
    the meta-gradient is had; "auto" is the cheapest exact way, "higher" the reference.  ``schedule``:
    ``lookahead`` takes virtual steps, updates the teacher and then takes the real steps with the new weights;
    ``online`` takes the real steps themselves as the inner steps.  ``unroll=K``: steps in a window, with one
    meta-gradient for all of them.
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
        engine: str | Engine = "auto",
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
        learned = tuple(p for p in teacher.parameters() if p.requires_grad)
        if learned and teacher_optimizer is None:
            teacher_optimizer = torch.optim.Adam(learned, lr=1e-3)
        check_optimizers(list(student.parameters().values()), optimizer, learned, teacher_optimizer)
        reads_gradient = teacher.sees == "gradient"
        if reads_gradient and (schedule != "lookahead" or every != 1 or unroll != 1):
            raise ValueError(
                "this teacher reads its weights off each batch's hypergradient: lookahead, every=1, unroll=1"
            )
        built = build_engine(engine)
        check_unroll(unroll, built.abilities, schedule)
        scope_of(student, scope)
        self.live = Live(
            student,
            optimizer,
            teacher,
            learned,
            ByGradient(teacher) if reads_gradient else ByParameters(teacher, teacher_optimizer, learned),
            built,
            checked_center(teacher.centered if center is None else center),
            anchor,
            max_norm,
            scope,
            total_steps,
        )
        self.teacher_optimizer = teacher_optimizer
        self.schedule, self.unroll, self.every = schedule, unroll, every
        self.learns = bool(learned) or reads_gradient
        """Whether meta-gradients are taken at all."""
        self.needs_meta = self.learns or teacher.wants_meta
        """Whether the teacher learns or looks at the meta set at all."""
        self.windows = 0
        """Iterations taken: calls of ``step``."""
        self._collapse = CollapseWatch()

    @property
    def student(self) -> Student:
        """As given."""
        return self.live.student

    @property
    def teacher(self) -> Teacher:
        """As given."""
        return self.live.teacher

    @property
    def optimizer(self) -> Optimizer:
        """The student's."""
        return self.live.optimizer

    @property
    def engine(self) -> Engine:
        """As given, or built by its name."""
        return self.live.engine

    @property
    def steps(self) -> int:
        """Real steps taken."""
        return self.live.steps

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
        single, several = SCHEDULES[self.schedule]
        if meta is None or not self.learns:
            taken = plain(self.live, batches, rates, meta, teach=teach)
        elif len(batches) == 1:
            set_rates(self.optimizer, rates, 0)
            taken = single(self.live, batches[0], meta)
        else:
            taken = several(self.live, batches, meta, rates)
        self.windows += 1
        report = reported(taken)
        if self.live.learned and teach and len(report.weights) > 1:
            self._collapse.see(report.stats["weight_mean"], report.stats["weight_spread"])
        return report

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs from here: student, teacher, optimizers, counters."""
        return {
            "student": self.student.module.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "teacher_optimizer": self.teacher_optimizer and self.teacher_optimizer.state_dict(),
            "steps": self.live.steps,
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
        self.live.steps = state["steps"]
        self.windows = state.get("windows", self.live.steps)  # one and the same before windows had K steps
        self._collapse.load_state_dict(state["collapse"])
