"""The course of the learning rate over training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch.optim import Optimizer

from metaweight.core.registry import did_you_mean

LEARNING_RATES = ("constant", "step", "cosine", "inverse-sqrt")


@dataclass(frozen=True)
class LearningRate:
    """Factor on the optimizer's learning rate at each step; linear warm-up first.

    ``name``: "constant", "step", "cosine" (down to 0 at the end), "inverse-sqrt".  Raises ValueError for
    another, with the nearest.
    """

    name: str = "constant"
    warmup_steps: int = 0
    milestones: tuple[int, ...] = ()
    """Epochs at which "step" multiplies by ``gamma``."""
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if self.name not in LEARNING_RATES:
            raise ValueError(f"unknown learning rate {self.name!r}.{did_you_mean(self.name, LEARNING_RATES)}")

    def factor(self, step: int, *, steps: int, steps_per_epoch: int) -> float:
        """The factor at ``step`` of ``steps``."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.name == "cosine":
            share = (step - self.warmup_steps) / max(steps - self.warmup_steps, 1)
            return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
        if self.name == "inverse-sqrt":
            return math.sqrt(max(self.warmup_steps, 1) / max(step + 1, 1))
        epoch = step // steps_per_epoch
        return self.gamma ** sum(epoch >= m for m in self.milestones) if self.name == "step" else 1.0


class RateCourse:
    """An optimizer's learning rates over training, from their values at the start: nothing to save or resume.

    ``steps``: of the whole training.
    """

    def __init__(
        self, optimizer: Optimizer, course: LearningRate, *, steps: int, steps_per_epoch: int
    ) -> None:
        self.optimizer, self.course = optimizer, course
        self.steps, self.steps_per_epoch = steps, steps_per_epoch
        self.first = [group["lr"] for group in optimizer.param_groups]

    def at(self, step: int) -> list[float]:
        """The learning rate of each parameter group at ``step``."""
        factor = self.course.factor(step, steps=self.steps, steps_per_epoch=self.steps_per_epoch)
        return [first * factor for first in self.first]

    def set(self, step: int) -> None:
        """Give the parameter groups their learning rates at ``step``."""
        for group, rate in zip(self.optimizer.param_groups, self.at(step), strict=True):
            group["lr"] = rate
