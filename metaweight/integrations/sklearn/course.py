"""One course of training on encoded rows: student, teacher, Trainer, and what they leave."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from metaweight.core.console import Terminal
from metaweight.core.contracts import Center
from metaweight.core.digest import digest
from metaweight.core.randomness import forked_rng
from metaweight.data.rows.loader import RowsLoader, TensorRows
from metaweight.integrations.alike import require_alike
from metaweight.reweighter import Reweighter
from metaweight.student.losses import UnitLoss
from metaweight.student.student import Student
from metaweight.teachers.base import Teacher, build_teacher, name_of
from metaweight.training.callbacks import WeightHistory
from metaweight.training.history import check_epochs
from metaweight.training.learning_rate import LearningRate
from metaweight.training.progress import EpochProgress
from metaweight.training.trainer import Trainer

PREDICTED = 8192
"""Rows of a pass that predicts."""


@dataclass(frozen=True)
class Rows:
    """Rows that are trained on or trusted."""

    inputs: tuple[Tensor, ...]
    targets: Tensor
    index: Tensor
    """[n] int64: position in X; of rows that X has not, from its length on."""

    def join(self, other: Rows) -> Rows:
        """These, and behind them the ``other`` ones."""
        inputs = tuple(torch.cat(both) for both in zip(self.inputs, other.inputs, strict=True))
        return Rows(inputs, torch.cat([self.targets, other.targets]), torch.cat([self.index, other.index]))

    @property
    def digest(self) -> str:
        """Of all of them, in their order."""
        return digest(*self.inputs, self.targets, self.index)


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a student of rows is trained."""

    build: Callable[[], nn.Module]
    loss: UnitLoss
    taps: Sequence[str]
    teacher: str
    teacher_options: Mapping[str, Any] = field(default_factory=dict)
    teacher_lr: float
    engine: str
    schedule: str
    center: Center | None
    train_on_meta: bool
    epochs: int
    warmup_epochs: int
    batch_size: int
    meta_batch_size: int
    lr: float
    weight_decay: float
    seed: int
    device: str
    verbose: bool

    def check(self) -> None:
        """Raise TypeError for sizes that are no whole numbers, ValueError for sizes and rates that are not
        positive and epochs that leave the teacher none."""
        for name in ("epochs", "warmup_epochs", "batch_size", "meta_batch_size"):
            if not isinstance(getattr(self, name), numbers.Integral):
                raise TypeError(f"{name} is a whole number, got {getattr(self, name)!r}")
        check_epochs(self.epochs, self.warmup_epochs, 1)
        for name in ("batch_size", "meta_batch_size", "lr", "teacher_lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is positive, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Taught:
    """What a course leaves."""

    module: nn.Module
    teacher: str
    engine: str
    kept: WeightHistory
    """Weights and losses [epochs, samples]; NaN where a row was not trained on."""
    history: list[dict[str, float]]


def teach(course: Course, train: Rows, trusted: Rows, *, class_counts: Sequence[int] | None) -> Taught:
    """Train a student on ``train``, its weights learnt from ``trusted``; global generators stay as they were.

    In several processes each trains on its part of every batch.  Raises as Student, Teacher, Reweighter and
    Trainer do for options that do not go together, ValueError for processes with other rows or another seed.
    """
    course.check()
    require_alike(
        "an estimator's fit",
        lambda: {
            "random_state (None is another in each)": str(course.seed),
            "training rows": train.digest,
            "trusted rows": trusted.digest,
        },
    )
    samples = 1 + max(int(rows.index.max()) for rows in (train, trusted))
    device = torch.device(course.device)
    with forked_rng(device):
        torch.manual_seed(course.seed)
        student = Student(course.build().to(device), course.loss, taps=course.taps)
        loaders = {
            name: RowsLoader(
                TensorRows(rows.inputs),
                rows.targets,
                torch.arange(len(rows.index)),
                index=rows.index,
                batch_size=size,
                seed=seed,
                device=device,
            )
            for name, rows, size, seed in (
                (
                    "train",
                    train.join(trusted) if course.train_on_meta else train,
                    course.batch_size,
                    course.seed,
                ),
                ("meta", trusted, course.meta_batch_size, course.seed + 1),
            )
        }
        spec = student.spec(loaders["meta"].batch(0, 0), class_counts=class_counts, samples=samples)
        spec = replace(spec, meta_in_train=course.train_on_meta)
        teacher = build_teacher(course.teacher, spec, **course.teacher_options)
        kept = WeightHistory(samples, course.epochs, course.warmup_epochs)
        shown = _progress(course.epochs) if course.verbose else None
        trainer = Trainer(
            _reweighter(course, student, teacher),
            loaders["train"],
            loaders["meta"],
            epochs=course.epochs,
            warmup_epochs=course.warmup_epochs,
            learning_rate=LearningRate("cosine"),
            callbacks=(kept,) if shown is None else (kept, shown),
        )
        with shown or nullcontext():
            trainer.fit()
    student.module.eval()
    return Taught(
        student.module,
        name_of(teacher),
        str(getattr(trainer.reweighter.engine, "chosen", None) or course.engine),
        kept,
        trainer.history.epochs,
    )


def _reweighter(course: Course, student: Student, teacher: Teacher) -> Reweighter:
    learned = [p for p in teacher.parameters() if p.requires_grad]
    return Reweighter(
        student,
        teacher,
        optimizer=torch.optim.AdamW(
            student.module.parameters(), lr=course.lr, weight_decay=course.weight_decay
        ),
        teacher_optimizer=torch.optim.Adam(learned, lr=course.teacher_lr) if learned else None,
        engine=course.engine,
        schedule=course.schedule,
        center=course.center,
    )


def _progress(epochs: int) -> EpochProgress:
    return EpochProgress(Terminal(), epochs, describe=lambda row: "", counted="rows")


def outputs_of(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """What ``module`` says of rows [N, ...], on the CPU, without a graph and in its precision."""
    first = next(module.parameters())

    def placed(value: Tensor) -> Tensor:
        return value.to(first if value.is_floating_point() else first.device)

    blocks = zip(*(value.split(PREDICTED) for value in inputs), strict=True)
    with torch.no_grad():
        return torch.cat([module(*map(placed, block)).cpu() for block in blocks])


def in_float64(module: nn.Module) -> nn.Module:
    """A copy of ``module`` on the CPU in float64: there a row's outputs do not depend on how many rows are
    beside it, which in float32 they do in the seventh digit."""
    return copy.deepcopy(module).to("cpu", torch.float64)
