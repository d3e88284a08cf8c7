"""The iterations that are compared: a plain step, and the engines and schedules of metaweight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

import metaweight as mw
from benchmarks.speed.students import Subject, subject

Iterate = Callable[[mw.Batch, mw.Batch], None]


@dataclass(frozen=True)
class Variant:
    """A way to take one iteration; without an engine it is plain training."""

    name: str
    engine: str | None = None
    schedule: str = "lookahead"
    every: int = 1
    """The teacher is updated each ``every``-th iteration: that many make one cycle."""


PLAIN = Variant("plain step")
VARIANTS = (
    PLAIN,
    Variant("higher, lookahead", "higher"),
    Variant("forward, lookahead", "forward"),
    Variant("higher, online", "higher", "online"),
    Variant("forward, online", "forward", "online"),
    Variant("forward, lookahead, every=5", "forward", every=5),
)


@dataclass(frozen=True)
class Setting:
    """What all variants share."""

    model: str = "resnet-32"
    batch: int = 100
    meta_batch: int = 100
    threads: int = 2
    seed: int = 0


def random_pair(setting: Setting, generator: torch.Generator) -> tuple[mw.Batch, mw.Batch]:
    """A train batch and a meta batch that share no sample."""
    kind = subject(setting.model)
    train = kind.random_batch(setting.batch, 0, generator)
    return train, kind.random_batch(setting.meta_batch, setting.batch, generator)


def small_batch(setting: Setting, generator: torch.Generator) -> mw.Batch:
    """Two samples."""
    return subject(setting.model).random_batch(2, 0, generator)


def fresh_module(setting: Setting) -> nn.Module:
    """The student's module with its first weights: the same ones at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setting.seed)
        return subject(setting.model).module()


def prepare(variant: Variant, module: nn.Module, setting: Setting) -> Iterate:
    """The function that takes one iteration of a variant with ``module``, a new optimizer and a new teacher.

    The teacher is ``mw-net`` with Adam, so small that nearly all of the cost is the meta-gradient's.
    """
    kind = subject(setting.model)
    optimizer = kind.optimizer(module.parameters())
    if variant.engine is None:
        return _plain(module, optimizer, kind)
    student = kind.student(module)
    teacher = mw.build_teacher("mw-net", spec=student.spec(small_batch(setting, torch.Generator())))
    reweighter = mw.Reweighter(
        student,
        teacher,
        optimizer=optimizer,
        teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=1e-3),
        engine=variant.engine,
        schedule=variant.schedule,
        every=variant.every,
    )

    def iterate(train: mw.Batch, meta: mw.Batch) -> None:
        reweighter.step(train, meta)

    return iterate


def _plain(module: nn.Module, optimizer: torch.optim.Optimizer, kind: Subject) -> Iterate:
    """The training loop that everybody writes, without metaweight: the unit of the table."""

    def iterate(train: mw.Batch, _meta: mw.Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        kind.loss(module, train).backward()
        optimizer.step()

    return iterate
