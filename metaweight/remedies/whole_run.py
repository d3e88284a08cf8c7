"""Weights that are learnt through whole runs, then a run with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from metaweight.core.contracts import StudentState
from metaweight.core.processes import Processes
from metaweight.influence import WholeRun
from metaweight.influence.moves import moves
from metaweight.remedies.base import Facts, Remedy, remedies
from metaweight.remedies.course import STAGES, Course, Stage
from metaweight.reweighter import Reweighter
from metaweight.student.student import Student
from metaweight.tasks import Evaluation
from metaweight.tasks.assembly import learning_rate
from metaweight.teachers.base import Sees, Teacher, checked_teacher_options


class GivenWeights(Teacher):
    """The weight of each sample by its position [N], found before the run."""

    sees: ClassVar[Sees | None] = "nothing"
    learns = False
    unrated = "its weights were learnt for the samples of its run, one by one"

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights: Tensor
        self.register_buffer("weights", weights)

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U] of a batch."""
        return self.weights[state.index.to(self.weights.device)].to(state.loss)


def _chooser(evaluation: Evaluation) -> Callable[[Student], float] | None:
    """Of a student what the run's own evaluation follows, the lower the better; None without such rows."""
    split, _, figure = evaluation.monitor.partition("_")
    batches = evaluation.batches.get(split)
    if batches is None:
        return None
    sign = -1.0 if evaluation.higher_is_better else 1.0
    return lambda student: sign * evaluation.function(student, batches)[figure]


@dataclass(frozen=True, kw_only=True)
class _ThroughRuns(Remedy):
    """Learn by gradients through whole plain runs what training samples weigh, and train with that."""

    rounds: int
    move: str
    size: float
    patience: int = 5
    with_meta: bool = True

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.patience < 1:
            raise ValueError(f"rounds and patience are 1 or more, got {self.rounds} and {self.patience}")
        if not 0 < self.size <= 1:
            raise ValueError(f"size of a step lies in (0, 1], got {self.size}")
        moves[self.move]

    def check(self, facts: Facts) -> None:
        if Processes.at_hand().size > 1:
            raise ValueError(f"remedy {facts.name!r} goes back through runs of one process: train in one")
        if facts.config.compile:
            raise ValueError(f"remedy {facts.name!r} differentiates twice, which compiled passes cannot")

    def _learnt(self, course: Course, name: str, teacher: str | None = None) -> Tensor:
        """[N], the weights of the best round; one by one, or by a teacher."""
        config = course.config
        taught = config if teacher is None else replace(config, teacher=teacher)
        built: Reweighter = course.task.build(taught, course.prepared)
        run = WholeRun(
            built.student,
            course.task.sources(config, course.prepared).train,
            built.optimizer,
            epochs=config.epochs,
            learning_rate=learning_rate(config),
            weights=torch.ones(course.prepared.samples, dtype=torch.float64),
            max_norm=config.max_norm,
            folder=None if course.folder is None else course.folder.path / STAGES / name,
        )
        found = run.learn(
            course.batches(course.pool.meta, training=False),
            valid=_chooser(course.task.evaluation(config, course.prepared)),
            wrt=None if teacher is None else built.teacher,
            rounds=self.rounds,
            move=self.move,
            size=self.size,
            patience=self.patience,
        )
        course.spend(found.cost + 1)  # the student is trained with the weights that were learnt
        return found.weights

    def _stage(self, course: Course, weights: Tensor) -> Stage:
        """The last one: a plain run with ``weights`` [N]."""
        config, fresh = course.config, course.build()
        teacher = GivenWeights(weights)
        reweighter = Reweighter(fresh.student, teacher, optimizer=fresh.optimizer, max_norm=config.max_norm)
        both = torch.cat([course.pool.train, course.pool.meta])
        source = course.batches(both) if self.with_meta else None
        return Stage(config=config, source=source, reweighter=reweighter, weighs=True)


@remedies.register("whole-run")
@dataclass(frozen=True, kw_only=True)
class WholeRunWeights(_ThroughRuns):
    """Learn the weight of every training sample by gradients through whole plain runs, and train with them.

    In each of ``rounds`` a plain run is trained, gone back through, and all weights are moved by ``size`` at
    most (``move``: "signed" or "adam"); the round whose student is the best on the validation set counts, and
    where a run has none every other trusted row is held out for it.  The last run trains on the trusted rows
    too, with weight 1, unless ``with_meta`` is False; those before it do not, for a loss on rows that are
    learnt by heart says nothing.  About 5 plain runs a round.
    Ilyas and Engstrom, MAGIC (2025), whose metagradient this is, with a trust region.  See
    ``metaweight.WholeRun.learn``.
    """

    rounds: int = 10
    move: str = "signed"
    size: float = 0.2

    def last(self, course: Course) -> Stage:
        return self._stage(course, self._learnt(course, "whole-run"))


@remedies.register("whole-run-teacher")
@dataclass(frozen=True, kw_only=True)
class WholeRunTeacher(_ThroughRuns):
    """Teach a teacher by gradients through whole plain runs, and train with the weights that it gives.

    As ``whole-run``, but what moves are the parameters of ``teacher``, one that sees the student and reads no
    meta-gradients ("memory", "mlp", "attention", "surface", "mw-net"): rows that look alike to it then weigh
    alike, and trusted rows are not learnt by heart as soon.  The last run has the mean of what a sample
    weighed over the visits of the best round.  About 5 plain runs a round.
    Fan et al. (2021), Algorithm 1, carried through the whole run.
    """

    teacher: str = "memory"
    rounds: int = 10
    move: str = "adam"
    size: float = 0.05

    def check(self, facts: Facts) -> None:
        super().check(facts)
        checked_teacher_options(self.teacher, {})

    def last(self, course: Course) -> Stage:
        weights = self._learnt(course, "whole-run-teacher", self.teacher)
        return self._stage(course, weights.nan_to_num(1.0))  # trusted rows have had none
