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
from metaweight.training.learning_rate import RateCourse
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
class Asked:
    """A run that is not yet taken, and what it is asked about."""

    run: mw.WholeRun
    config: RunConfig
    prepared: Any
    pool: Pool
    meta: Epochs
    """The trusted rows."""

    def accuracy(self) -> float:
        """Of the student at the run's end on the test rows, in percent."""
        self.run.record()
        evaluation = tasks[self.config.task].evaluation(self.config, self.prepared)
        return evaluation.function(self.run.student, evaluation.batches["test"])["accuracy"]


def whole_run_of(
    subject: Subject, noise: str, seed: int, *, start: Callable[[nn.Module], None] | None = None
) -> Asked:
    """Plain training; ``start``: what is done to the new student."""
    config, task = config_of(subject, noise, seed), tasks[subject.task]
    prepared = task.prepare(config)
    pool = task.pool(config, prepared)
    built = task.build(config, prepared)
    if start is not None:
        start(built.student.module)
    run = mw.WholeRun(
        built.student,
        task.sources(config, prepared).train,
        built.optimizer,
        epochs=config.epochs,
        weights=torch.ones(prepared.samples, dtype=torch.float64),
        learning_rate=learning_rate(config),
        max_norm=config.max_norm,
    )
    return Asked(run, config, prepared, pool, task.batches(config, prepared, pool.meta, training=False))


def believed(subject: Subject, noise: str, seed: int, *, subsets: int, jobs: int) -> Believed:
    """Train, go back, train again without random subsets."""
    asked = whole_run_of(subject, noise, seed)
    run, config, prepared, pool, meta = asked.run, asked.config, asked.prepared, asked.pool, asked.meta
    clock = [time.monotonic()]
    run.record()
    clock.append(time.monotonic())
    scores: dict[str, Tensor] = {"influence": run.influence(meta).values}
    clock.append(time.monotonic())
    scores["one step at a time"] = one_step(subject, config, meta)
    for teacher in TEACHERS:
        scores[teacher] = -mean_weights(subject, replace(config, teacher=teacher, warmup_epochs=2))
    generator = torch.Generator().manual_seed(seed)
    scores["random"] = torch.randn(prepared.samples, generator=generator, dtype=torch.float64)
    began = time.monotonic()
    certificate = run.certify(scores, meta, subsets=subsets, jobs=jobs)
    seconds = {
        "plain run": clock[1] - clock[0],
        "influence": clock[2] - clock[1],
        "certificate": time.monotonic() - began,
    }
    aurocs = {}
    if pool.flipped is not None and bool(pool.flipped.any()):
        wrong = pool.flipped
        aurocs = {name: auroc(-score[pool.train].nan_to_num(0), wrong) for name, score in scores.items()}
    steps = len(run.steps)
    return Believed(subject, noise, seed, steps, certificate, aurocs, seconds)


def one_step(subject: Subject, config: RunConfig, meta: Epochs) -> Tensor:
    """Slopes of the trusted loss by each weight one step ahead, summed over a plain run [N]."""
    task = tasks[subject.task]
    prepared = task.prepare(config)
    built = task.build(config, prepared)
    student, optimizer = built.student, built.optimizer
    source = task.sources(config, prepared).train
    steps = config.epochs * len(source)
    rates = RateCourse(optimizer, learning_rate(config), steps=steps, steps_per_epoch=len(source))
    total = torch.zeros(prepared.samples, dtype=torch.float64)
    rows = meta.batch(0, 0)
    for step in range(steps):
        batch = source.batch(*divmod(step, len(source)))
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
        )
        total.index_add_(0, batch.index, found.grads[0].double())
        optimizer.zero_grad()
        student(batch, taps=False).loss.mean().backward()
        optimizer.step()
    return total


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
