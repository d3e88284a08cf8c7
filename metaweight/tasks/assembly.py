"""The parts of a run that are built from options alone, whatever the task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.contracts import StateSpec
from metaweight.core.options import options_of
from metaweight.core.registry import Registry
from metaweight.data import derive
from metaweight.engines import build_engine
from metaweight.reweighter import Reweighter
from metaweight.student.execution import Execution
from metaweight.student.student import Student
from metaweight.tasks.config import RunConfig
from metaweight.tasks.outcome import Outcome
from metaweight.tasks.probes import check_probes
from metaweight.teachers import base as teachers
from metaweight.teachers.base import build_teacher, checked_teacher_options
from metaweight.training.callbacks import AttentionHistory, Callback, WeightHistory
from metaweight.training.fates import Fates
from metaweight.training.learning_rate import LearningRate
from metaweight.training.trainer import Trainer

optimizers: Registry[Callable[..., Optimizer]] = Registry("optimizer")
optimizers.add("sgd", torch.optim.SGD)
optimizers.add("adam", torch.optim.Adam)
optimizers.add("adamw", torch.optim.AdamW)


def seed_of(seed: int, name: str) -> int:
    """A seed of its own for one purpose of a run."""
    return int(torch.randint(2**31, (1,), generator=derive(seed, name)))


def build_optimizer(config: RunConfig, parameters: Iterable[Tensor]) -> Optimizer:
    """The student's optimizer, with those options of ``config`` that it has.

    Raises KeyError for an unknown name, with the nearest one.
    """
    kind = optimizers[config.optimizer]
    of_any = ("lr", "weight_decay", "momentum", "nesterov", "betas", "eps")
    return kind(parameters, **{name: getattr(config, name) for name in of_any if name in options_of(kind)})


def learning_rate(config: RunConfig) -> LearningRate:
    """The course of the student's learning rate.  Raises ValueError for an unknown one, with the nearest."""
    return LearningRate(config.lr_schedule, config.lr_warmup_steps, config.lr_milestones, config.lr_gamma)


def execution(config: RunConfig) -> Execution:
    """How the student is run.  Raises ValueError for an unknown precision or layout, with the nearest."""
    return Execution(config.precision, config.memory_format, config.compile)  # type: ignore[arg-type]


def check_parts(config: RunConfig) -> None:
    """Raise for a teacher or engine that there is not, for options of theirs of another name or type, and as
    ``check_probes``."""
    check_probes(config)
    checked_teacher_options(config.teacher, config.teacher_options)
    build_engine(config.engine, **config.engine_options)


def trains_on_meta(config: RunConfig) -> bool:
    """Whether a run trains on the trusted samples too; what a remedy chooses from them is its own matter.

    Raises KeyError for an unknown teacher, with the nearest.
    """
    return teachers.trains_on_meta(config.teacher, config.train_on_meta)


def build_reweighter(config: RunConfig, student: Student, spec: StateSpec) -> Reweighter:
    """``student`` with the teacher that ``config`` names, for states of ``spec``, and their optimizers."""
    spec = replace(spec, meta_in_train=trains_on_meta(config))
    teacher = build_teacher(config.teacher, spec, **config.teacher_options)
    learned = [p for p in teacher.parameters() if p.requires_grad]
    return Reweighter(
        student,
        teacher,
        optimizer=build_optimizer(config, student.module.parameters()),
        teacher_optimizer=torch.optim.Adam(learned, lr=config.teacher_lr) if learned else None,
        engine=build_engine(config.engine, **config.engine_options),
        schedule=config.schedule,
        unroll=config.unroll,
        every=config.every,
        scope=config.scope or None,
        center=config.center,
        anchor=config.anchor,
        max_norm=config.max_norm,
        relabel=config.relabel,
    )


@dataclass(frozen=True)
class Assembled:
    """A run that is ready to start or done, and what watches it."""

    trainer: Trainer
    weights: WeightHistory
    attention: AttentionHistory
    epoch: int | None = None
    """The epoch whose student is handed out; None: the last."""
    watchers: tuple[Callback, ...] = ()
    """Those of the task's own."""

    @property
    def row(self) -> Mapping[str, float]:
        """What was measured in the epoch whose student is handed out."""
        return self.trainer.history.row(self.epoch)

    def outcome(
        self,
        figures: Mapping[str, float],
        details: Mapping[str, Any] | None = None,
        *,
        fates: Fates | None = None,
    ) -> Outcome:
        """``figures`` and what every task keeps beside them."""
        return Outcome(
            figures,
            self.trainer.history,
            layers=self.attention.layers,
            attention=tuple(tuple(row) for row in self.attention.shares),
            details=details or {},
            fates=fates,
            epoch=self.epoch,
        )
