"""The course of the learning rate over training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from metaweight.registry import did_you_mean

LEARNING_RATES = ("constant", "step", "cosine", "inverse-sqrt")


@dataclass(frozen=True)
class LearningRate:
    """Factor on the optimizer's learning rate at each step; linear warm-up first."""

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
            done = (step - self.warmup_steps) / max(steps - self.warmup_steps, 1)
            return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        if self.name == "inverse-sqrt":
            return math.sqrt(max(self.warmup_steps, 1) / max(step + 1, 1))
        epoch = step // steps_per_epoch
        return self.gamma ** sum(epoch >= m for m in self.milestones) if self.name == "step" else 1.0
