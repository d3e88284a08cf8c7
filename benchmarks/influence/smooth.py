"""What makes a run smooth: one and the same training with one thing changed at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from rich.console import Console
from torch import nn

from benchmarks.influence.believed import Subject, config_of, plain_of, trusted_of
from metaweight.influence.smoothness import Smoothness
from metaweight.tasks import tasks

console = Console()
STEP = 0.01
BIAS = 1.0
DIGITS: Mapping[str, Any] = {"data": "digits", "epochs": 25}


@dataclass(frozen=True)
class Change:
    """Options that are another than the first row's, and what is done to the new student."""

    label: str
    options: Mapping[str, Any] = field(default_factory=dict)
    start: Callable[[nn.Module], None] | None = None


def biased(module: nn.Module) -> None:
    """Hidden units begin away from the kinks of most rows."""
    layers = [part for part in module.modules() if isinstance(part, nn.Linear)]
    for layer in layers[:-1]:
        nn.init.constant_(layer.bias, BIAS)


GELU = {"model_options": {"activation": "gelu"}}
STUDENTS: Mapping[str, tuple[Mapping[str, Any], Sequence[Change]]] = {
    "mlp": (
        {**DIGITS, "model": "mlp", "model_options": {"activation": "relu"}, "lr": 0.1},
        (
            Change("ReLU, rate 0.1, batches of 100"),
            Change("GELU", GELU),
            Change("warm-up of 25 steps", {"lr_warmup_steps": 25}),
            Change("rate 0.05", {"lr": 0.05}),
            Change("rate 0.2", {"lr": 0.2}),
            Change("batches of 200", {"batch_size": 200}),
            Change("batches of 25", {"batch_size": 25}),
            Change("512 hidden units", {"model_options": {"activation": "relu", "width": 512}}),
            Change(f"hidden biases begin at {BIAS:g}", start=biased),
        ),
    ),
    "convnet": (
        {**DIGITS, "model": "convnet", "lr": 0.02},
        (
            Change("ReLU, BatchNorm, rate 0.02, batches of 100"),
            Change("GELU", GELU),
            Change("GroupNorm", {"model_options": {"norm": "group"}}),
            Change("no norm", {"model_options": {"norm": "none"}}),
            Change("warm-up of 25 steps", {"lr_warmup_steps": 25}),
            Change("rate 0.01", {"lr": 0.01}),
            Change("batches of 200", {"batch_size": 200}),
        ),
    ),
}


@dataclass(frozen=True)
class Row:
    """A change, and what came of it, means over seeds."""

    model: str
    label: str
    accuracy: float
    """Of the test rows, in percent."""
    score: Smoothness


def smooth(models: Sequence[str], noise: str, seeds: Sequence[int]) -> list[Row]:
    """A row for each change of each student.  Raises KeyError for one that there is not."""
    rows = []
    for model in models or STUDENTS:
        base, changes = STUDENTS[model]
        for change in changes:
            found = [
                _measured(Subject(model, "image", {**base, **change.options}), change, noise, s)
                for s in seeds
            ]
            scores = [score for _, score in found]
            of_all = Smoothness(
                *(
                    mean(getattr(one, name) for one in scores)
                    for name in ("cosine", "change", "signs", "promised")
                ),
                step=STEP,
                advice=(),
            )
            rows.append(Row(model, change.label, mean(accuracy for accuracy, _ in found), of_all))
            console.print(f"{model}, {change.label}: cosine {of_all.cosine:.2f}", highlight=False)
    return rows


def _measured(subject: Subject, change: Change, noise: str, seed: int) -> tuple[float, Smoothness]:
    """(accuracy of the test rows, smoothness)."""
    config = config_of(subject, noise, seed)
    prepared = tasks[subject.task].prepare(config)
    run = plain_of(config, prepared, change.start).run()
    score = run.smoothness(trusted_of(config, prepared)[1], step=STEP)
    evaluation = tasks[subject.task].evaluation(config, prepared)
    return evaluation.function(run.student, evaluation.batches["test"])["accuracy"], score


def smooth_table(rows: Sequence[Row], noise: str, seeds: Sequence[int]) -> str:
    """Cosine, change, signs, the loss against what is promised, and accuracy."""
    heads = "student | what is changed | cosine | change | signs kept | loss off by | accuracy, %"
    lines = [f"| {heads} |", "| --- | --- |" + " ---: |" * 5]
    lines += [
        f"| {row.model} | {row.label} | {row.score.cosine:.2f} | {row.score.change:.2f} | "
        f"{row.score.signs:.0%} | {row.score.promised:.0%} | {row.accuracy:.1f} |"
        for row in rows
    ]
    about = (
        f"Digits, plain training with {noise}, 25 epochs; each row changes one thing of the first one of its "
        f"student. All weights are moved by {STEP:.0%} of themselves, up or down at random, two directions; "
        f"means over {len(seeds)} seeds. Cosine, change (length of the difference, in lengths of the "
        "gradient) and signs: of the gradient there and here. Loss off by: how far the loss there is from "
        "what the gradient promises, relative to that."
    )
    return "\n".join([*lines, "", about, ""])
