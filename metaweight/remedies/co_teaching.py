"""Two students, each of which picks the samples that the other one learns from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from metaweight.remedies.base import Facts, Remedy, nominal_rate, remedies, require_classes, require_range
from metaweight.remedies.course import Course, Stage
from metaweight.student.losses import cross_entropy, of_logits
from metaweight.student.student import Student
from metaweight.tasks.assembly import build_reweighter, seed_of
from metaweight.training.callbacks import Callback, Run


class Pair(nn.Module):
    """Two students on the same inputs: logits [U, 2, C] in training, the first one's [U, C] in evaluation."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, *inputs: Any) -> Tensor:
        """Logits of both, or of the one that is handed out."""
        logits: Tensor = self.first(*inputs)
        return torch.stack([logits, self.second(*inputs)], dim=1) if self.training else logits


@of_logits
class CoTeachingLoss:
    """Sum of both students' losses on the samples that the other one picked: [U, 2, C], [U] -> [U].

    Each picks the ``keep`` share of the batch with its smallest losses; the pick is a constant.  Scaled so
    that the mean over the batch is the sum of the means over the picked samples.  Logits [U, C], as
    evaluation has them, give the cross-entropy.
    """

    def __init__(self, keep: float = 1.0) -> None:
        self.keep = keep

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each sample [U]."""
        if outputs.dim() == 2:
            return cross_entropy(outputs, targets)
        first, second = (cross_entropy(logits, targets) for logits in outputs.unbind(dim=1))
        return self._picked(second) * first + self._picked(first) * second

    def _picked(self, losses: Tensor) -> Tensor:
        """U / k at the k smallest of ``losses`` [U], 0 elsewhere."""
        # 0.7 * 10 is a little less than 7
        count = max(1, math.floor(self.keep * len(losses) + 1e-9))
        smallest = losses.detach().argsort(stable=True)[:count]
        return torch.zeros_like(losses.detach()).index_fill_(0, smallest, len(losses) / count)


@dataclass(frozen=True)
class KeepRate:
    """R(t) = 1 - min(t / gradual * rate, rate) after t epochs."""

    rate: float
    gradual: int

    def at(self, epoch: int) -> float:
        """The share of a batch that is kept, ``epoch`` epochs being done."""
        return 1 - min(epoch / self.gradual * self.rate, self.rate)


class Forgetting(Callback):
    """Gives the loss its keep rate: a function of the epoch alone, so nothing is to be saved."""

    def __init__(self, loss: CoTeachingLoss, course: KeepRate) -> None:
        self.loss, self.course = loss, course

    def on_start(self, run: Run) -> None:
        self.loss.keep = self.course.at(run.epoch)

    def on_epoch(self, run: Run, row: Mapping[str, float]) -> None:
        self.loss.keep = self.course.at(run.epoch)


@remedies.register("co-teaching")
@dataclass(frozen=True, kw_only=True)
class CoTeaching(Remedy):
    """Two students, each learning from the small-loss samples of the batch that the other one picks.

    Han et al. (2018).  The share that is kept falls from 1 to 1 - ``forget_rate`` (default: the nominal noise
    rate) over the first ``gradual`` epochs.  The first student is handed out.  A step costs two plain steps.
    Differences to the paper: 1. a gradient clipped to a norm (``max_norm``) is that of both students
    together.  2. The train loss of a run is the sum of both students'.
    Raises ValueError for a rate outside [0, 1) or gradual below 1.
    """

    whole_batches: ClassVar[bool] = True

    forget_rate: float | None = None
    gradual: int = 10

    def __post_init__(self) -> None:
        if self.forget_rate is not None:
            require_range("forget_rate of co-teaching", self.forget_rate)
        if self.gradual < 1:
            raise ValueError(f"gradual of co-teaching is 1 epoch or more, got {self.gradual}")

    def check(self, facts: Facts) -> None:
        require_classes(facts)
        require_range("forget_rate of co-teaching", self._rate(facts.pool.nominal))

    def _rate(self, nominal: float | None) -> float:
        return nominal_rate(self.forget_rate, nominal, option="forget_rate", name="co-teaching")

    def last(self, course: Course) -> Stage:
        config = course.config
        other = replace(config, seed=seed_of(config.seed, "second student"))
        second = course.task.build(other, course.prepared).student.module
        first = course.build().student  # last, so that training begins at this seed's random state
        loss = CoTeachingLoss()
        student = Student(Pair(first.module, second), loss, execution=first.execution)
        probe = course.batches(course.pool.meta[:2], training=False).batch(0, 0)
        reweighter = build_reweighter(config, student, student.spec(probe))
        forgetting = Forgetting(loss, KeepRate(self._rate(course.pool.nominal), self.gradual))
        return Stage(config=config, reweighter=reweighter, callbacks=(forgetting,), students=2)
