"""One image experiment from one config: data, noise, student, teacher, training, and what came out."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.callbacks import AttentionHistory, Callback, WeightHistory
from metaweight.config import ImageConfig, parse_values
from metaweight.data import Noisy
from metaweight.learning_rate import LearningRate
from metaweight.metrics.weights import auroc
from metaweight.models import build_model, default_taps
from metaweight.preparation import Prepared, loader, prepare, seed_of
from metaweight.registry import Registry
from metaweight.report.record import RunFolder
from metaweight.reweighter import Reweighter
from metaweight.student import Student
from metaweight.teachers.base import build_teacher
from metaweight.trainer import History, Trainer

optimizers: Registry[type[Optimizer]] = Registry("optimizer")
optimizers.add("sgd", torch.optim.SGD)
optimizers.add("adam", torch.optim.Adam)
optimizers.add("adamw", torch.optim.AdamW)


@dataclass(frozen=True)
class Outcome:
    """What a run gave; accuracies in percent on the clean test set."""

    accuracy: float
    """At the last epoch."""
    accuracy_at_best: float
    """At the epoch that was best on the validation set."""
    auroc: float
    """Of the mean weight for finding the flipped samples; NaN where nothing or everything is flipped."""
    weight_mean: float
    """Mean weight over all samples and epochs: away from 1, the teacher also sets the learning rate."""
    realised_noise: float
    seconds: float
    history: History
    layers: tuple[str, ...] = ()
    """Taps, for a teacher that attends to them."""
    attention: tuple[tuple[float, ...], ...] = ()
    """[epochs, L], share of attention on each tapped layer, for a teacher that has it."""


def build(config: ImageConfig, prepared: Prepared) -> Reweighter:
    """Student, teacher and their optimizers, initialised from the config's seed."""
    torch.manual_seed(seed_of(config.seed, "initial"))
    images = prepared.images
    _, channels, size, _ = images.train_images.shape
    module = build_model(
        config.model,
        classes=len(images.classes),
        channels=channels,
        size=size,
        **parse_values(config.model_options),
    ).to(config.device)
    student = Student(module, taps=config.taps or default_taps(config.model))
    counts = torch.bincount(prepared.labels[prepared.splits.train], minlength=len(images.classes))
    probe = loader(config, prepared, "meta", batch_size=2, training=False).batch(0, 0)
    teacher = build_teacher(
        config.teacher,
        student.spec(probe, class_counts=counts.tolist()),
        **parse_values(config.teacher_options),
    )
    learned = [p for p in teacher.parameters() if p.requires_grad]
    return Reweighter(
        student,
        teacher,
        optimizer=_optimizer(config, module.parameters()),
        teacher_optimizer=torch.optim.Adam(learned, lr=config.teacher_lr) if learned else None,
        engine=config.engine,
        schedule=config.schedule,
        every=config.every,
        center=config.center,
        anchor=config.anchor,
        max_norm=config.max_norm,
    )


def _optimizer(config: ImageConfig, parameters: Iterable[Tensor]) -> Optimizer:
    kind = optimizers[config.optimizer]
    if kind is torch.optim.SGD:
        return torch.optim.SGD(
            parameters,
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
        )
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay)  # type: ignore[call-arg]


@dataclass(frozen=True)
class Assembled:
    """A run that is ready to start, and what watches it."""

    trainer: Trainer
    weights: WeightHistory
    attention: AttentionHistory


def assemble(
    config: ImageConfig,
    prepared: Prepared,
    folder: RunFolder | None = None,
    *,
    callbacks: Sequence[Callback] = (),
) -> Assembled:
    """Everything that ``run`` needs; a mistake in the config shows here, before anything is written."""
    splits = prepared.splits
    weights = WeightHistory(len(prepared.labels), config.epochs)
    attention = AttentionHistory()
    evaluated = ("valid", "test") if len(splits.valid) else ("test",)
    trainer = Trainer(
        build(config, prepared),
        loader(config, prepared, "train", batch_size=config.batch_size, training=True),
        loader(config, prepared, "meta", batch_size=config.meta_batch_size, training=True),
        epochs=config.epochs,
        evaluations={
            split: loader(config, prepared, split, batch_size=1000, training=False) for split in evaluated
        },
        evaluate_every=config.evaluate_every,
        warmup_epochs=config.warmup_epochs,
        learning_rate=LearningRate(
            config.lr_schedule, config.lr_warmup_steps, config.lr_milestones, config.lr_gamma
        ),
        patience=config.patience,
        folder=folder,
        callbacks=(weights, attention, *callbacks),
    )
    return Assembled(trainer, weights, attention)


def run(
    config: ImageConfig,
    folder: RunFolder | None = None,
    *,
    prepared: Prepared | None = None,
    callbacks: Sequence[Callback] = (),
    resume: bool = False,
) -> Outcome:
    """Train as ``config`` says; with a ``folder``, log there, keep weights by sample and a checkpoint."""
    prepared = prepare(config) if prepared is None else prepared
    assembled = assemble(config, prepared, folder, callbacks=callbacks)
    if resume:
        assembled.trainer.resume()
    assembled.trainer.fit()
    index, history = prepared.splits.train, assembled.weights
    if folder is not None:
        folder.save_weights(
            index=index,
            given=prepared.noise.labels,
            clean=prepared.images.train_labels[index],
            flipped=prepared.noise.flipped,
            weights=history.weights[:, index],
            loss=history.loss[:, index],
        )
    return outcome(assembled, history.mean_weight()[index], prepared.noise)


def outcome(assembled: Assembled, weights: Tensor, noise: Noisy) -> Outcome:
    """The figures of a finished run; ``weights`` [n]: mean weight of each training sample."""
    history, seen = assembled.trainer.history, weights.isfinite()
    best = next((row for row in history.epochs if row["epoch"] == history.best_epoch), history.epochs[-1])
    return Outcome(
        accuracy=history.epochs[-1]["test_accuracy"],
        accuracy_at_best=best.get("test_accuracy", math.nan),
        auroc=auroc(weights[seen], noise.flipped[seen]),
        weight_mean=float(weights[seen].mean()),
        realised_noise=noise.realised,
        seconds=assembled.trainer.seconds,
        history=history,
        layers=assembled.attention.layers,
        attention=tuple(tuple(row) for row in assembled.attention.shares),
    )


def iteration_cost(config: ImageConfig, prepared: Prepared, *, rounds: int = 8) -> float:
    """Time of one iteration in plain steps: medians of interleaved rounds on twins of the run's start."""
    arms = [
        build(dataclasses.replace(config, teacher="uniform", teacher_options=()), prepared),
        build(config, prepared),
    ]
    train = loader(config, prepared, "train", batch_size=config.batch_size, training=True)
    meta = loader(config, prepared, "meta", batch_size=config.meta_batch_size, training=True)
    seconds: list[list[float]] = [[], []]
    cycle = rounds * config.every
    for step in range(-2 * config.every, cycle):
        for arm, spent in zip(arms, seconds, strict=True):
            batch, trusted = train.at(step % len(train)), meta.at(step % len(meta))
            started = time.perf_counter()
            arm.step(batch, trusted)
            if step >= 0:  # the first ones warm up caches and run each engine's once-only checks
                spent.append(time.perf_counter() - started)
    plain, reweighted = (
        median(sum(spent[i : i + config.every]) for i in range(0, cycle, config.every)) for spent in seconds
    )
    return reweighted / plain
