"""Weights that are learnt through whole runs, then a run with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from metaweight.teachers.base import Sees, Teacher

NAME = "whole-run"


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


@remedies.register(NAME)
@dataclass(frozen=True, kw_only=True)
class WholeRunWeights(Remedy):
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
    patience: int = 5
    with_meta: bool = True

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.patience < 1:
            raise ValueError(f"rounds and patience are 1 or more, got {self.rounds} and {self.patience}")
        if not 0 < self.size <= 1:
            raise ValueError(f"size of {NAME} lies in (0, 1], got {self.size}")
        moves[self.move]

    def check(self, facts: Facts) -> None:
        if Processes.at_hand().size > 1:
            raise ValueError(f"remedy {facts.name!r} goes back through runs of one process: train in one")
        if facts.config.compile:
            raise ValueError(f"remedy {facts.name!r} differentiates twice, which compiled passes cannot")

    def last(self, course: Course) -> Stage:
        config, pool = course.config, course.pool
        built = course.build()
        place = None if course.folder is None else course.folder.path / STAGES / NAME
        run = WholeRun(
            built.student,
            course.task.sources(config, course.prepared).train,
            built.optimizer,
            epochs=config.epochs,
            learning_rate=learning_rate(config),
            weights=torch.ones(course.prepared.samples, dtype=torch.float64),
            max_norm=config.max_norm,
            folder=place,
        )
        learnt = run.learn(
            course.batches(pool.meta, training=False),
            valid=_chooser(course.task.evaluation(config, course.prepared)),
            rounds=self.rounds,
            move=self.move,
            size=self.size,
            patience=self.patience,
        )
        course.spend(learnt.cost + 1)  # the student is trained with the weights that were learnt
        fresh = course.build()
        reweighter = Reweighter(
            fresh.student,
            GivenWeights(learnt.weights),
            optimizer=fresh.optimizer,
            max_norm=config.max_norm,
        )
        source = course.batches(torch.cat([pool.train, pool.meta])) if self.with_meta else None
        return Stage(config=config, source=source, reweighter=reweighter, weighs=True)
