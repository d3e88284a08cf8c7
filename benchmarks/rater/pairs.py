"""Do raters of sentence pairs transfer?  ``python -m benchmarks.rater.pairs --help``."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import torch
import tyro
from rich.console import Console

import benchmarks.data  # noqa: F401 (registers Tatoeba)
from benchmarks.command import exit_code
from benchmarks.own.tables import with_spread
from metaweight.cli.places import run_folder
from metaweight.core.atomic import whole_file
from metaweight.core.contracts import Batch
from metaweight.core.csv_text import write_csv
from metaweight.core.markdown import markdown_table
from metaweight.core.weights import auroc
from metaweight.data import derive
from metaweight.data.folder import data_folder
from metaweight.data.text import NoisyBitext, corrupt_bitext, load_text
from metaweight.tasks import run as train
from metaweight.tasks import run_manifest, tasks
from metaweight.tasks.config import TranslationConfig
from metaweight.tasks.rating import Rater, load_rater
from metaweight.teachers.inputs import unit_loss
from metaweight.training.evaluation import of_each
from metaweight.training.run_folder import RunFolder, manifest

console = Console()


@dataclass(frozen=True)
class Options:
    """Trains raters on spoilt phrases of the CLDR and rates other phrases, and sentences of Tatoeba.

    Writes table.md, runs.csv and manifest.json into a folder.
    """

    teachers: tuple[str, ...] = ("memory", "surface", "evidence", "knn")
    seeds: tuple[int, ...] = (0, 1, 2)
    sets: tuple[str, ...] = ("cldr", "tatoeba-mini")
    """New pairs; Tatoeba lies below METAWEIGHT_DATA."""
    pairs: int = 1000
    """New pairs of each set."""
    train_size: int = 3000
    epochs: int = 6
    rate: float = 0.4
    """Share of bad pairs (mixed) in the training and in the new pairs."""
    threads: int = 1
    """CPU threads of torch."""
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/rater-pairs-TIME."""


@dataclass(frozen=True)
class Trial:
    """How well one rule finds the bad ones among new pairs."""

    data: str
    arm: str
    seed: int
    auroc: float


def run(options: Options) -> Path:
    """Train, write and print; the run's folder.  Raises FileExistsError for one that exists."""
    torch.set_num_threads(options.threads)
    path = run_folder(options.out, "rater-pairs")
    place = RunFolder.create(path, manifest(asdict(options), sys.argv)).path
    done: list[Trial] = []
    for seed in options.seeds:
        for teacher in options.teachers:
            with tempfile.TemporaryDirectory() as scratch:
                rater = trained(options, teacher, seed, Path(scratch) / "run")
                for name in options.sets:
                    own = trials(options, rater, teacher, name, seed, Path(scratch))
                    done += [one for one in own if one.arm == teacher or teacher == options.teachers[0]]
            for one in done[-2 * len(options.sets) :]:
                console.print(f"{one.data}, seed {one.seed}, {one.arm}: {one.auroc:.3f}", highlight=False)
            write_csv(place / "runs.csv", [field.name for field in fields(Trial)], map(astuple, done))
            with whole_file(place / "table.md") as file:
                file.write(f"{to_markdown(done, options)}\n".encode())
    return place


def trained(options: Options, teacher: str, seed: int, folder: Path) -> Rater:
    """The rater of a run on the CLDR."""
    config = TranslationConfig(
        train_size=options.train_size,
        meta_size=300,
        valid_size=100,
        test_size=20,
        noise="mixed",
        noise_rate=options.rate,
        teacher=teacher,
        epochs=options.epochs,
        warmup_epochs=1,
        lr=2e-3,
        lr_schedule="cosine",
        lr_warmup_steps=100,
        beam=1,
        seed=seed,
    )
    prepared = tasks["translation"].prepare(config)
    train(config, RunFolder.create(folder, run_manifest(config, prepared)), prepared=prepared)
    return load_rater(folder)


def new_pairs(options: Options, name: str, seed: int) -> NoisyBitext:
    """Spoilt pairs of a set, English and German; of the CLDR another draw than that of the run."""
    text = load_text(
        name,
        data_dir=None if name == "cldr" else str(data_folder(None) or ""),
        train_size=options.pairs,
        meta_size=50,
        valid_size=50,
        test_size=50,
        languages=("en", "de"),
        seed=1000 + seed,
    )
    return corrupt_bitext(text.train, "mixed", rate=options.rate, generator=derive(seed, "rater", name))


def trials(options: Options, rater: Rater, teacher: str, name: str, seed: int, scratch: Path) -> list[Trial]:
    """The rater, the loss of its student a token, and chance."""
    noisy = new_pairs(options, name, seed)
    file = scratch / f"{name}.jsonl"
    pairs = zip(noisy.bitext.source, noisy.bitext.target, strict=True)
    file.write_text("".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in pairs))
    new = rater.reader.read(str(file))
    weights = rater.rate(new).weights[new.places]
    bad = noisy.flipped[new.places]

    def of_batch(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        return batch.index, unit_loss(rater.student(batch).state())

    found = of_each(rater.student, new.batches(None), of_batch)
    index, losses = map(torch.cat, zip(*found, strict=True))
    chance = torch.rand(len(bad), generator=torch.Generator().manual_seed(seed))
    loss = torch.empty_like(losses).index_copy_(0, index, losses.detach())
    figures = {teacher: weights, "loss": -loss, "random": chance}
    return [Trial(name, arm, seed, auroc(values, bad)) for arm, values in figures.items()]


def to_markdown(done: Sequence[Trial], options: Options) -> str:
    """AUROC by arm and set."""
    arms = ("random", "loss", *options.teachers)
    rows = []
    for arm in arms:
        own = [[one.auroc for one in done if (one.data, one.arm) == (name, arm)] for name in options.sets]
        if all(own):
            rows.append((arm, *(with_spread(values, 2) for values in own)))
    about = (
        f"AUROC for finding the bad ones among {options.pairs:,} new pairs, {options.rate:.0%} of them "
        f"bad (mixed). Raters were trained on {options.train_size:,} phrases of the CLDR, as bad; "
        f"{len(options.seeds)} seeds, mean ± standard deviation. `loss`: a token's, of the student of the "
        f"run with `{options.teachers[0]}`."
    )
    return f"{markdown_table(('arm', *options.sets), rows)}\n\n{about}"


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(lambda: run(tyro.cli(Options, args=args, prog="python -m benchmarks.rater.pairs")))


if __name__ == "__main__":
    sys.exit(main())
