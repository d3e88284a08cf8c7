"""The iterations that are compared: a plain step, and the engines and schedules of metaweight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

import metaweight as mw
from metaweight.models import build_model

CLASSES, CHANNELS, SIZE = 10, 3, 32
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


def random_batch(units: int, first: int, generator: torch.Generator) -> mw.Batch:
    """``units`` normal images [U, 3, 32, 32] with labels at random; positions from ``first`` on."""
    images = torch.randn(units, CHANNELS, SIZE, SIZE, generator=generator)
    labels = torch.randint(CLASSES, (units,), generator=generator)
    return mw.Batch((images,), labels, torch.arange(first, first + units))


def random_pair(setting: Setting, generator: torch.Generator) -> tuple[mw.Batch, mw.Batch]:
    """A train batch and a meta batch that share no sample."""
    train = random_batch(setting.batch, 0, generator)
    return train, random_batch(setting.meta_batch, setting.batch, generator)


def fresh_module(setting: Setting) -> nn.Module:
    """The student's module with its first weights: the same ones at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setting.seed)
        return build_model(setting.model, classes=CLASSES, channels=CHANNELS, size=SIZE)


def prepare(variant: Variant, module: nn.Module) -> Iterate:
    """The function that takes one iteration of a variant with ``module``, a new optimizer and a new teacher.

    Momentum SGD as in the MW-Net protocol; the teacher is ``mw-net`` with Adam, so small that nearly all
    of the cost is the meta-gradient's.
    """
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    if variant.engine is None:
        return _plain(module, optimizer)
    student = mw.Student(module)
    probe = random_batch(2, 0, torch.Generator())
    teacher = mw.build_teacher("mw-net", spec=student.spec(probe))
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


def _plain(module: nn.Module, optimizer: torch.optim.Optimizer) -> Iterate:
    """The training loop that everybody writes, without metaweight: the unit of the table."""

    def iterate(train: mw.Batch, _meta: mw.Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(module(*train.inputs), train.targets).backward()
        optimizer.step()

    return iterate
