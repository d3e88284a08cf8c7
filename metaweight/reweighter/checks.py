"""Which options of a Reweighter go together, and of a Trainer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from metaweight.core.registry import did_you_mean
from metaweight.engines.abilities import Abilities
from metaweight.engines.base import Engine
from metaweight.engines.inner import refuse_moved_states, refuse_other_steps, refuse_sparse
from metaweight.reweighter.schedules import SCHEDULES
from metaweight.student.checks import require_student
from metaweight.student.student import Student
from metaweight.teachers.base import Teacher, name_of


def check_parts(student: object, teacher: object) -> None:
    """Raise TypeError for what is no Student, and what is no Teacher but the name or the class of one."""
    require_student(student)
    if isinstance(teacher, str):
        raise TypeError(
            f"a Teacher is wanted, got the name {teacher!r}: write metaweight.build_teacher({teacher!r}, "
            "spec=student.spec(batch))"
        )
    if isinstance(teacher, type):
        raise TypeError(
            f"a Teacher is wanted, got the class {teacher.__name__}: build one, {teacher.__name__}(spec)"
        )
    if not isinstance(teacher, Teacher):
        raise TypeError(
            f"a Teacher is wanted, a subclass of metaweight.Teacher, got {type(teacher).__name__}"
        )


def check_gradients() -> None:
    """Raise ValueError inside of no_grad or inference_mode, where nothing can be trained."""
    if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        where = "inference_mode" if torch.is_inference_mode_enabled() else "no_grad"
        raise ValueError(f"a step trains the student, which torch.{where}() forbids: call step outside of it")


@dataclass
class ModeWatch:
    """Warns once where a student trains in eval mode: dropout is off, statistics stand still."""

    warned: bool = False

    def see(self, module: nn.Module) -> None:
        """The student's module before a step."""
        if module.training or self.warned:
            return
        self.warned = True
        warnings.warn(
            "the student trains in eval mode: dropout is off and running statistics stand still, as they do "
            "after from_pretrained or an evaluation; call student.module.train() before the step (and then "
            ".eval() on those parts that are to stay so)",
            UserWarning,
            stacklevel=3,
        )


def check_options(schedule: str, every: int, max_norm: float | None) -> None:
    """Raise ValueError for a schedule that there is not, or a number that makes no sense."""
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown schedule {schedule!r}.{did_you_mean(schedule, SCHEDULES)}")
    if every < 1:
        raise ValueError(f"every is 1 or more, got {every}")
    if max_norm is not None and not max_norm > 0:
        raise ValueError(f"max_norm is positive or None, got {max_norm}")


def check_reading(teacher: Teacher, schedule: str, every: int, unroll: int) -> None:
    """Raise ValueError where a teacher reads its weights off hypergradients that there are not."""
    if teacher.sees == "gradient" and (schedule != "lookahead" or every != 1 or unroll != 1):
        raise ValueError(
            "this teacher reads its weights off each batch's hypergradient: lookahead, every=1, unroll=1"
        )


def check_signals(teacher: Teacher, engine: Engine) -> None:
    """Raise ValueError where a teacher reads single slopes, and the engine has them roughly alone."""
    reads = teacher.sees == "gradient" or type(teacher).take_hypergradient is not Teacher.take_hypergradient
    if reads and engine.coarse:
        raise ValueError(
            f"teacher {name_of(teacher)!r} reads the hypergradient of each sample, of which {engine.coarse} "
            "may have the wrong sign: take engine='auto', or a teacher that learns from all of them "
            "together, as 'memory', 'mlp' and 'mw-net' do"
        )


def check_relabel(teacher: Teacher, abilities: Abilities, unroll: int) -> None:
    """Raise ValueError where labels cannot move."""
    if teacher.silence:
        name = name_of(teacher)
        raise ValueError(f"relabel=True moves labels, and teacher {name!r} suggests none: {teacher.silence}")
    if unroll != 1:
        raise ValueError(f"relabel=True moves labels in single steps: unroll=1, got {unroll}")
    if not abilities.gathers:
        raise ValueError(
            "relabel=True adds to the inner step, of which this engine knows nothing: take engine='auto'"
        )


def check_weigh(unroll: int, relabel: bool, micro_batches: float, loss_scale: float) -> None:
    """Raise ValueError where ``Reweighter.weigh`` cannot give the weights of one step."""
    if unroll != 1:
        raise ValueError(
            f"weigh gives the weights of one step, this Reweighter unrolls {unroll}: later weights "
            "depend on steps that your loop has not taken; build it with unroll=1, or call step"
        )
    if relabel:
        raise ValueError(
            "weigh gives weights for a loss of the given labels, and relabel=True moves labels too: call step"
        )
    if micro_batches < 1 or not loss_scale > 0:
        raise ValueError(
            f"micro_batches is 1 or more, loss_scale positive, got {micro_batches} and {loss_scale}"
        )


def check_optimizers(
    student: Student,
    optimizer: Optimizer,
    learned: Sequence[Tensor],
    teacher: Optimizer | None,
    *,
    differentiated: bool,
) -> None:
    """Raise ValueError where an optimizer holds none of the trainable parameters that it is to move, or the
    teacher's one of the student's.

    ``differentiated``: meta-gradients go through the student's steps; raise TypeError or ValueError where
    they cannot.
    """
    own = {id(p) for p in student.parameters().values()}
    if not _held(optimizer) & own:
        raise ValueError(
            "optimizer holds no trainable parameter of this student: build it from those of its module"
        )
    if differentiated:
        refuse_other_steps(optimizer, student.parameters())
        refuse_moved_states(optimizer)
        refuse_sparse(student.module)
    if teacher is None or not learned:
        return
    if _held(teacher) & own:
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
