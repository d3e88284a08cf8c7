"""Which options of a Reweighter go together, and of a Trainer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.registry import did_you_mean
from metaweight.engines.abilities import Abilities
from metaweight.reweighter.schedules import SCHEDULES


def check_options(schedule: str, every: int, max_norm: float | None) -> None:
    """Raise ValueError for a schedule that there is not, or a number that makes no sense."""
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown schedule {schedule!r}.{did_you_mean(schedule, SCHEDULES)}")
    if every < 1:
        raise ValueError(f"every is 1 or more, got {every}")
    if max_norm is not None and not max_norm > 0:
        raise ValueError(f"max_norm is positive or None, got {max_norm}")


def check_optimizers(
    student: Sequence[Tensor], optimizer: Optimizer, learned: Sequence[Tensor], teacher: Optimizer | None
) -> None:
    """Raise ValueError where an optimizer holds none of the trainable parameters that it is to move, or the
    teacher's one of the student's."""
    if not _held(optimizer) & {id(p) for p in student}:
        raise ValueError(
            "optimizer holds no trainable parameter of this student: build it from those of its module"
        )
    if teacher is None or not learned:
        return
    if _held(teacher) & {id(p) for p in student}:
        raise ValueError("teacher_optimizer holds parameters of the student: build it from the teacher's")
    if not _held(teacher) & {id(p) for p in learned}:
        raise ValueError(
            "teacher_optimizer holds no trainable parameter of this teacher: build it from its parameters()"
        )


def _held(optimizer: Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def check_unroll(unroll: int, abilities: Abilities, schedule: str) -> None:
    """Raise ValueError where an engine of these ``abilities`` cannot take ``unroll`` inner steps."""
    advice = "engine='reverse' and engine='higher' can"
    if unroll < 1:
        raise ValueError(f"unroll is 1 or more, got {unroll}")
    if abilities.steps is not None and unroll > abilities.steps:
        raise ValueError(f"this engine unrolls {abilities.steps} inner step(s), not {unroll}; {advice}")
    if unroll > 1 and schedule == "online" and not abilities.ends_window:
        raise ValueError(f"this engine cannot take unroll={unroll} real steps as inner steps; {advice}")
