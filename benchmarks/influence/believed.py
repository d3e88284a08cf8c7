"""How far scores of samples tell what leaving them out does: linear datamodeling scores."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import metaweight as mw
from metaweight.core.weights import auroc
from metaweight.data.epochs import Epochs
from metaweight.engines import build_engine
from metaweight.influence.certificate import Certificate
from metaweight.tasks import run as trained
from metaweight.tasks import run_manifest, tasks
from metaweight.tasks.assembly import learning_rate
from metaweight.tasks.config import RunConfig
from metaweight.tasks.pool import Pool
from metaweight.training.history import Source
from metaweight.training.learning_rate import LearningRate, RateCourse
from metaweight.training.run_folder import RunFolder

TEACHERS = ("memory", "recall", "knn")


@dataclass(frozen=True)
class Subject:
    """A student, plainly trained: ``options`` of a run of ``task``."""

    label: str
    task: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Believed:
    """What came out for one student under one kind of wrong labels."""

    subject: Subject
    noise: str
    seed: int
    steps: int
    certificate: Certificate
    aurocs: Mapping[str, float]
    """Score -> AUROC of wrong labels."""
    seconds: Mapping[str, float]
    """Of a plain run, of the influence, of the whole certificate."""


def config_of(subject: Subject, noise: str, seed: int) -> RunConfig:
    """Plain training of ``subject``."""
    kind, _, rate = noise.partition("@")
    return tasks[subject.task].config(  # type: ignore[no-any-return]
        **{"noise": kind, "noise_rate": float(rate or 0), "teacher": "uniform", "seed": seed},
        **{"warmup_epochs": 0, **subject.options},
    )


@dataclass(frozen=True)
class Plain:
    """A plain training that has not begun."""

    student: mw.Student
    optimizer: torch.optim.Optimizer
    source: Source
    epochs: int
    samples: int
    course: LearningRate | None = None
    max_norm: float | None = None

    def run(self) -> mw.WholeRun:
        """It as a whole run, each sample of weight 1."""
        return mw.WholeRun(
            self.student,
            self.source,
            self.optimizer,
            epochs=self.epochs,
            weights=torch.ones(self.samples, dtype=torch.float64),
            learning_rate=self.course,
            max_norm=self.max_norm,
        )

    def one_step(self, rows: mw.Batch) -> Tensor:
        """Train: slopes of the loss of ``rows`` by each weight one step ahead, summed over the run [N]."""
        student, optimizer, each = self.student, self.optimizer, len(self.source)
        steps = self.epochs * each
        course = LearningRate() if self.course is None else self.course
        rates = RateCourse(optimizer, course, steps=steps, steps_per_epoch=each)
        total = torch.zeros(self.samples, dtype=torch.float64)
        for step in range(steps):
            batch = self.source.batch(*divmod(step, each))
            rates.set(step)
            weights = torch.ones(len(batch), requires_grad=True)
            found = mw.hypergradient(
                student,
                optimizer,
                [batch],
                rows,
                lambda state, weights=weights: weights,
                [weights],
                build_engine("double"),
                center=False,
                max_norm=self.max_norm,
            )
            total.index_add_(0, batch.index, found.grads[0].double())
            optimizer.zero_grad()
            student(batch, taps=False).loss.mean().backward()
            if self.max_norm is not None:
                nn.utils.clip_grad_norm_(student.module.parameters(), self.max_norm)
            optimizer.step()
        return total


def plain_of(config: RunConfig, prepared: Any, start: Callable[[nn.Module], None] | None = None) -> Plain:
    """Of a task's run; ``start``: what is done to the new student."""
    task = tasks[config.task]
    built = task.build(config, prepared)
    if start is not None:
        start(built.student.module)
    source, course = task.sources(config, prepared).train, learning_rate(config)
    return Plain(
        built.student, built.optimizer, source, config.epochs, prepared.samples, course, config.max_norm
    )


def trusted_of(config: RunConfig, prepared: Any) -> tuple[Pool, Epochs]:
    """All samples, and batches of the trusted ones."""
    task = tasks[config.task]
    pool = task.pool(config, prepared)
    return pool, task.batches(config, prepared, pool.meta, training=False)


def believed(subject: Subject, noise: str, seed: int, *, subsets: int, jobs: int) -> Believed:
    """Train, go back, train again without random subsets."""
    config = config_of(subject, noise, seed)
    prepared = tasks[subject.task].prepare(config)
    pool, meta = trusted_of(config, prepared)
    teachers = {
        teacher: lambda teacher=teacher: (
            -mean_weights(subject, replace(config, teacher=teacher, warmup_epochs=2))
        )
        for teacher in TEACHERS
    }
    wrong = pool.flipped if pool.flipped is not None and bool(pool.flipped.any()) else None
    return certified(
        subject,
        (noise, seed),
        lambda: plain_of(config, prepared),
        meta,
        meta.batch(0, 0),
        pool.train,
        wrong,
        teachers,
        subsets=subsets,
        jobs=jobs,
    )


def certified(
    subject: Subject,
    case: tuple[str, int],
    plain: Callable[[], Plain],
    meta: Any,
    rows: mw.Batch,
    train: Tensor,
    wrong: Tensor | None,
    others: Mapping[str, Callable[[], Tensor]],
    *,
    subsets: int,
    jobs: int,
) -> Believed:
    """``case``: kind of wrong labels and seed.  ``rows``: those of ``meta`` that single steps look at;
    ``train``: positions, and which of them are ``wrong``; ``others``: further scores."""
    run = plain().run()
    clock = [time.monotonic()]
    run.record()
    clock.append(time.monotonic())
    scores: dict[str, Tensor] = {"influence": run.influence(meta).values}
    clock.append(time.monotonic())
    scores["one step at a time"] = plain().one_step(rows)
    scores |= {name: made() for name, made in others.items()}
    generator = torch.Generator().manual_seed(case[1])
    scores["random"] = torch.randn(len(run.steps.weights), generator=generator, dtype=torch.float64)
    began = time.monotonic()
    certificate = run.certify(scores, meta, subsets=subsets, jobs=jobs)
    seconds = {
        "plain run": clock[1] - clock[0],
        "influence": clock[2] - clock[1],
        "certificate": time.monotonic() - began,
    }
    aurocs = {}
    if wrong is not None:
        aurocs = {name: auroc(-score[train].nan_to_num(0), wrong) for name, score in scores.items()}
    return Believed(subject, *case, len(run.steps), certificate, aurocs, seconds)


def mean_weights(subject: Subject, config: RunConfig) -> Tensor:
    """What a teacher has given each sample in the mean over its visits, on the same data [N]."""
    prepared = tasks[subject.task].prepare(config)
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder.create(Path(place) / "run", run_manifest(config, prepared))
        trained(config, folder, prepared=prepared)
        found = folder.read_weights().own
    whole = torch.zeros(prepared.samples, dtype=torch.float64)
    whole[found.index] = found.mean_weight().double()
    return whole
