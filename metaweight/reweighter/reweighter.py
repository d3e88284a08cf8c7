"""The Reweighter: one meta-iteration of a student and its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.contracts import Batch, Center, StepReport, require_batch
from metaweight.core.modes import without_float16
from metaweight.core.randomness import alone
from metaweight.core.reads import Numbers, together
from metaweight.core.shards import is_sharded
from metaweight.engines.base import CHECK_EVERY, Engine, build_engine
from metaweight.engines.centring import checked_center
from metaweight.engines.checks import refuse_parted_statistics
from metaweight.engines.inner import as_one
from metaweight.engines.scope import scope_of
from metaweight.engines.window import Rates, checked_rates
from metaweight.reweighter.blame import blamed
from metaweight.reweighter.checks import (
    ModeWatch,
    check_gradients,
    check_optimizers,
    check_options,
    check_parts,
    check_reading,
    check_relabel,
    check_signals,
    check_unroll,
    check_weigh,
)
from metaweight.reweighter.collapse import CollapseWatch
from metaweight.reweighter.live import Gathering, Live, set_rates
from metaweight.reweighter.schedules import SCHEDULES, glance, plain, step, weigh
from metaweight.reweighter.spent import Spent
from metaweight.reweighter.teaching import ByGradient, ByParameters
from metaweight.reweighter.window import Taken, checked_window, reported
from metaweight.student.student import Student
from metaweight.teachers.base import Teacher
from metaweight.teachers.per_sample import held_alike


class Reweighter:
    """Trains a student on weighted losses and its teacher on meta-gradients.

    ``optimizer``: the student's, one or several; one that Accelerate or Lightning has wrapped takes its own
    step.  ``teacher_optimizer``: None for Adam(lr=1e-3) where the teacher has parameters to train.
    ``engine``: how the meta-gradient is had; "auto" is the cheapest exact way, "higher" the reference.
    ``schedule``: ``lookahead`` takes virtual steps, updates the teacher and then takes the real steps with
    the new weights; ``online`` takes the real steps themselves as the inner steps.  ``unroll=K``: steps in a
    window, with one meta-gradient for all of them.
    ``every=N`` updates the teacher in each N-th window.  ``scope``: submodules that the meta-gradient goes
    through; the steps of all other parameters then count as constants (None: all).  ``center`` subtracts the
    batch's mean from the hypergradient of the weights, "class" that of each given class (None: as the teacher
    says); ``anchor`` is the strength of the pull of the mean weight to 1 that takes its place.  ``max_norm``
    clips the student's gradient in the virtual and in the real step.  ``total_steps`` gives the teacher the
    share of training done.  ``check_every``: batches after which the engine is held against reverse mode of
    the real loss again, beside those where something about the student has changed (what is seen at once,
    and what then only, says ``engines.watch``); 0: never.  ``relabel`` trains on the labels that the teacher
    suggests too, see ``relabelling``.  Raises ValueError for options that do not go together or an optimizer
    of other parameters, KeyError for an unknown submodule, TypeError or ValueError for an optimizer whose
    step cannot be differentiated through.

    In several processes (``Student(process_group=)``) each gives ``step`` and ``weigh`` its part of a batch
    (``Batch.part``), and gradients, weights and losses are those of the joined batch, as is the report,
    which is the same everywhere.  They start from the student and the teacher of rank 0.
    """

    def __init__(
        self,
        student: Student,
        teacher: Teacher,
        *,
        optimizer: Optimizer | Sequence[Optimizer],
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
        check_every: int = CHECK_EVERY,
        relabel: bool = False,
    ) -> None:
        check_parts(student, teacher)
        check_options(schedule, every, max_norm)
        learned = tuple(p for p in teacher.parameters() if p.requires_grad)
        if learned and teacher_optimizer is None:
            teacher_optimizer = torch.optim.Adam(learned, lr=1e-3)
        reads_gradient = teacher.sees == "gradient"
        one, learns = as_one(optimizer), bool(learned) or reads_gradient
        check_optimizers(student, one, learned, teacher_optimizer, differentiated=learns)
        check_reading(teacher, schedule, every, unroll)
        refuse_parted_statistics(student)
        for module in (student.module, teacher):
            whole = [p for p in module.parameters() if not is_sharded(p)]
            student.processes.broadcast([*whole, *held_alike(module)])
        built = build_engine(engine)
        check_unroll(unroll, built.abilities, schedule)
        check_signals(teacher, built)
        if relabel:
            check_relabel(teacher, built.abilities, unroll)
        scope_of(student, scope)
        self.live = Live(
            student,
            one,
            teacher,
            learned,
            ByGradient(teacher) if reads_gradient else ByParameters(teacher, teacher_optimizer, learned),
            built,
            checked_center(teacher.centered if center is None else center),
            anchor,
            max_norm,
            scope,
            total_steps,
            check_every,
            Spent(one, student.parameters().values()),
            relabel=relabel,
        )
        self._optimizer, self.teacher_optimizer = optimizer, teacher_optimizer
        self.schedule, self.unroll, self.every = schedule, unroll, every
        self.learns = learns
        """Whether meta-gradients are taken at all."""
        self.needs_meta = self.learns or teacher.wants_meta
        """Whether the teacher learns or looks at the meta set at all."""
        self.windows = 0
        """Iterations taken: calls of ``step``."""
        self.last: StepReport | None = None
        """Of the last call of ``step`` or ``weigh``."""
        self._collapse, self._mode = CollapseWatch(), ModeWatch()
        self._unread = Numbers({})
        """Of the last report: they are read with the checks of the next iteration."""

    @property
    def student(self) -> Student:
        """As given."""
        return self.live.student

    @property
    def teacher(self) -> Teacher:
        """As given."""
        return self.live.teacher

    @property
    def optimizer(self) -> Optimizer | Sequence[Optimizer]:
        """The student's, as given; ``live.optimizer`` is the same as one."""
        return self._optimizer

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
        check_gradients()
        self._mode.see(self.student.module)
        batches = checked_window(train, self.unroll)
        rates = checked_rates(rates, len(batches), self.live.optimizer)
        meta = self._due(meta, teach)
        schedule, live = SCHEDULES[self.schedule], self.live
        with alone(), self._blamed(*batches, meta), together([self._unread]):
            if meta is None or not self.learns:
                taken = plain(live, batches, rates, meta, teach=teach)
            elif len(batches) == 1:
                set_rates(self.live.optimizer, rates, 0)
                taken = step(live, schedule, batches[0], meta)
            else:
                taken = schedule.several(live, batches, meta, rates)
        return self._counted(taken, teach)

    def weigh(
        self,
        train: Batch,
        meta: Batch | None = None,
        *,
        teach: bool = True,
        micro_batches: float = 1,
        loss_scale: float = 1.0,
    ) -> Tensor:
        """Weights [U] of the units here, detached, for a step of your own loop; the teacher has learnt.

        ``(weights * losses).mean()`` is then yours: backward, clipping, the optimizer's step, the scheduler.
        The mean that DistributedDataParallel takes of it over processes is that over the joined batch.
        Nothing of the student is moved here, and the pass that follows draws the same dropout masks.  Where
        several micro-batches make one step, say how many (Accelerate's ``gradient_accumulation_steps``): your
        loss is divided by ``micro_batches``, by ``accelerator.backward`` or you, and the virtual step adds
        this batch's share to the gradient that has been gathered since the last step.  It is no whole number
        where your loss is divided otherwise, by the tokens of all micro-batches say: 1 / this batch's share.
        ``loss_scale``: what that gradient was multiplied by (a GradScaler's ``get_scale()``).  Each call
        counts as one step of ``total_steps`` and ``every``.  Under a float16 autocast the passes in here run
        in full precision, for no GradScaler keeps their gradients from vanishing.

        Raises ValueError where the Reweighter unrolls several steps, and as ``step``.
        """
        check_weigh(self.unroll, self.live.relabel, micro_batches, loss_scale)
        check_gradients()
        self._mode.see(self.student.module)
        (batch,) = checked_window(train, 1)
        meta = self._due(meta, teach)
        with (
            alone(),
            self._blamed(batch, meta),
            together([self._unread]),
            without_float16(self.student.device),
        ):
            if meta is None or not self.learns:
                taken = glance(self.live, batch, meta, teach=teach)
            else:
                gathering = Gathering(1 / micro_batches, loss_scale)
                taken = weigh(self.live, SCHEDULES[self.schedule], batch, meta, gathering)
        part = taken.part
        assert part is not None
        own = part.own(self._counted(taken, teach).weights)
        return own if part.whole else own * part.among_means

    def _due(self, meta: Batch | None, teach: bool) -> Batch | None:
        """The meta batch where the teacher is to see one now."""
        refuse_parted_statistics(self.student)
        if not (teach and self.needs_meta and self.windows % self.every == 0):
            return None
        if meta is None:
            raise ValueError("this teacher needs a meta batch: step(train, meta)")
        return require_batch(meta)

    def _blamed(self, *batches: Batch | None) -> AbstractContextManager[None]:
        """Around an iteration: a NaN that a norm spreads over a batch is told of the rows it comes from."""
        return blamed(self.student, [batch for batch in batches if batch is not None])

    def _counted(self, taken: Taken, teach: bool) -> StepReport:
        self.windows += 1
        report = reported(taken)
        self.last, self._unread = report, report.numbers
        if self.live.learned and teach and len(report.weights) > 1:
            self._collapse.see_later(report.stats)
        return report

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs from here; shares of several processes as DTensors."""
        return {
            "student": self.student.module.state_dict(),
            "optimizer": self.live.optimizer.state_dict(),
            **self.teaching_state(),
        }

    def teaching_state(self) -> dict[str, Any]:
        """``state_dict()`` without the student and its optimizer, which somebody else's loop saves itself."""
        return {
            "teacher": self.teacher.state_dict(),
            "teacher_optimizer": self.teacher_optimizer and self.teacher_optimizer.state_dict(),
            "steps": self.live.steps,
            "windows": self.windows,
            "collapse": self._collapse.state_dict(),
            "engine": self.engine.state_dict(self.student.module),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict()`` of a Reweighter built the same way."""
        self.student.module.load_state_dict(state["student"])
        self.live.optimizer.load_state_dict(state["optimizer"])
        self.load_teaching_state(state)

    def load_teaching_state(self, state: dict[str, Any]) -> None:
        """Go on from ``teaching_state()``, student and optimizer being where they were then."""
        self.teacher.load_state_dict(state["teacher"])
        if self.teacher_optimizer is not None:
            self.teacher_optimizer.load_state_dict(state["teacher_optimizer"])
        self.live.steps = state["steps"]
        self.windows = state.get("windows", self.live.steps)  # one and the same before windows had K steps
        self._collapse.load_state_dict(state["collapse"])
        self.engine.load_state_dict(self.student.module, state.get("engine", {}))
