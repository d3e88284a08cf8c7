"""What going back through whole runs costs, and how far it can be believed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console

import benchmarks.default.sources  # noqa: F401 - sets by name
from benchmarks.command import exit_code
from benchmarks.influence.believed import Believed, Subject, believed
from benchmarks.influence.cost import Cost, measured
from benchmarks.influence.language import believed_language
from benchmarks.influence.smooth import smooth, smooth_table
from metaweight.cli.places import run_folder
from metaweight.core.atomic import whole_file
from metaweight.training.run_folder import RunFolder, manifest

console = Console()
BATCHES = {"resnet-32": 100, "transformer-small": 64}
DIGITS = {"data": "digits", "epochs": 25}
"""Epochs of 11 or 12 steps."""
ROWS = {"train_size": 1000, "meta_balanced": False}
SUBJECTS = {
    "mlp": Subject("mlp", "image", {**DIGITS, "model": "mlp", "lr": 0.1}),
    "mlp-relu": Subject(
        "mlp, relu", "image", {**DIGITS, "model": "mlp", "model_options": {"activation": "relu"}, "lr": 0.1}
    ),
    "convnet": Subject("convnet", "image", {**DIGITS, "model": "convnet", "lr": 0.02}),
    "convnet-gelu": Subject(
        "convnet, gelu",
        "image",
        {**DIGITS, "model": "convnet", "model_options": {"activation": "gelu"}, "lr": 0.02},
    ),
    "cifar10": Subject(
        "convnet, gelu, 1,000 of CIFAR-10",
        "image",
        {
            **{"data": "cifar10", "train_size": 1000, "epochs": 15},
            **{"model": "convnet", "model_options": {"activation": "gelu"}, "lr": 0.02},
        },
    ),
    "multi30k": Subject(
        "transformer-tiny, gelu, 600 of Multi30k",
        "translation",
        {
            **{"data": "multi30k", "train_size": 600, "meta_size": 100, "valid_size": 100},
            **{"vocab_size": 1000, "model_options": {"activation": "gelu"}, "eps": 1e-6},
            **{"lr": 2e-3, "lr_warmup_steps": 20, "epochs": 10},
        },
    ),
    "spambase": Subject("spambase", "tabular", {**ROWS, "data": "spambase"}),
    "mr-sentences": Subject("mr-sentences", "text", {**ROWS, "data": "mr-sentences", "epochs": 10}),
}
"""The last four lie below METAWEIGHT_DATA."""
IMAGES = ("mlp", "mlp-relu", "convnet")


@dataclass(frozen=True)
class Options:
    """Cost and credibility of gradients through whole runs.

    ``cost``: recording, and one influence, beside a loop as anybody writes it.  ``believed``: the rank
    correlation of what scores predict with what training without random subsets gives.  ``smooth``: how far
    the gradient through a run changes close by, with one thing of the training changed at a time.
    """

    what: tyro.conf.Positional[str] = "believed"
    """cost, believed or smooth."""
    models: tuple[str, ...] = ()
    """Of cost: benchmarks.speed.students'; of believed: mlp (GELU), mlp-relu, convnet on digits, which are
    the default, convnet-gelu, cifar10, spambase (a table), mr-sentences, multi30k (with --noises mixed@0.4),
    language (with --noises noise); of smooth: mlp, convnet."""
    noises: tuple[str, ...] = ("uniform@0.4", "cluster@0.8")
    """Of smooth: the first one."""
    seeds: tuple[int, ...] = (0,)
    subsets: int = 60
    steps: int = 36
    """Of the runs that are timed."""
    rounds: int = 3
    jobs: int = 1
    threads: int = 1
    """CPU threads of torch."""
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/influence-TIME."""

    def __post_init__(self) -> None:
        if self.what not in ("cost", "believed", "smooth"):
            raise ValueError(f"what is 'cost', 'believed' or 'smooth', got {self.what!r}")


def run(options: Options) -> Path:
    """Measure, write and print; the run's folder."""
    torch.set_num_threads(options.threads)
    path = run_folder(options.out, "influence")
    folder = RunFolder.create(path, manifest(asdict(options), sys.argv)).path
    if options.what == "smooth":
        noise = options.noises[0]
        text = smooth_table(smooth(options.models, noise, options.seeds), noise, options.seeds)
    else:
        text = cost(options) if options.what == "cost" else credibility(options, folder)
    with whole_file(folder / "table.md") as file:
        file.write(text.encode())
    console.print(text, markup=False, highlight=False)
    console.print(f"run folder: {folder}", soft_wrap=True)
    return folder


def cost(options: Options) -> str:
    """A row a student."""
    rows = []
    for model in options.models or ("mlp", "transformer-small", "resnet-32"):
        rows.append(measured(model, BATCHES.get(model, 100), options.steps, options.rounds))
        console.print(f"{model}: {rows[-1].influence:.2f} plain runs", highlight=False)
    return cost_table(rows, options)


def cost_table(rows: Sequence[Cost], options: Options) -> str:
    """Times in plain runs, peaks in MiB."""
    heads = (
        "student | plain step, ms | record | influence | low memory | peak, plain, MiB | influence | "
        "low memory | state, MiB"
    )
    lines = [f"| {heads} |", "| --- |" + " ---: |" * 8]
    lines += [
        f"| {row.model} | {1e3 * row.seconds:.1f} | {row.record:.2f} | {row.influence:.2f} | "
        f"{row.low:.2f} | {row.plain_peak / 2**20:.0f} | {row.influence_peak / 2**20:.0f} | "
        f"{row.low_peak / 2**20:.0f} | {row.state / 2**20:.1f} |"
        for row in rows
    ]
    about = (
        f"Runs of {options.steps} steps. A plain run is a loop of torch alone; `record` is the same run "
        "recorded with its states in a folder, two steps of rehearsal among them; `influence` is one loss's "
        "way back, without the recorded run; `low memory` the same with low_memory=True. CPU seconds of one "
        f"process, in plain runs of the same round: medians of {options.rounds} rounds in turn. Peaks: "
        "resident memory above what a fresh process held before it built the student, glibc told to give "
        "what is freed back at once; of influences with the recording."
    )
    return "\n".join([*lines, "", about, ""])


def credibility(options: Options, folder: Path) -> str:
    """A row a score, for each student, kind of wrong labels and seed."""
    rows: list[Believed] = []
    for name in options.models or IMAGES:
        for noise in options.noises:
            for seed in options.seeds:
                how = {"subsets": options.subsets, "jobs": options.jobs}
                rows.append(
                    believed_language(noise, seed, **how)
                    if name == "language"
                    else believed(SUBJECTS[name], noise, seed, **how)
                )
                rows[-1].certificate.save(folder / f"{name}-{noise}-{seed}.json")
                console.print(f"{name}, {noise}, seed {seed}\n{rows[-1].certificate}", highlight=False)
    return credibility_table(rows, options)


def credibility_table(rows: Sequence[Believed], options: Options) -> str:
    """Rank correlations with intervals, gains, AUROC."""
    heads = "student | wrong labels | seed | score | LDS | 95 % | gain, worst 5 % | gain, worst 10 % | AUROC"
    lines = [f"| {heads} |", "| --- | --- | ---: | --- |" + " ---: |" * 5]
    for row in rows:
        for score in row.certificate.scores:
            lds = "-" if score.lds is None else f"{score.lds:.2f}"
            interval = "-" if score.low is None else f"{score.low:.2f} to {score.high:.2f}"
            gains = [f"{g.gain:.3f} ({g.low:.3f} to {g.high:.3f})" for g in score.gains]
            found = f"{row.aurocs[score.name]:.2f}" if score.name in row.aurocs else "-"
            lines.append(
                f"| {row.subject.label} | {row.noise} | {row.seed} | {score.name} | {lds} | {interval} | "
                f"{' | '.join(gains)} | {found} |"
            )
    steps = " or ".join(map(str, sorted({row.steps for row in rows})))
    about = (
        f"Plain training of {steps} steps. LDS: rank correlation, over {options.subsets} "
        "retrainings without random 5 % of the samples, of the change that a score predicts with the change "
        "of the trusted loss. Gain: how much lower the trusted loss is without the worst by this score than "
        "without random ones, with the interval of one more random set. Scores of teachers are minus the "
        "mean weight of a run with them; `one step at a time`: slopes one step ahead, summed over the run. "
        "AUROC: of wrong labels, by the score."
    )
    return "\n".join([*lines, "", about, ""])


def main(args: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    return exit_code(lambda: run(tyro.cli(Options, args=args)))


if __name__ == "__main__":
    sys.exit(main())
