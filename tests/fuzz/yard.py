"""What is spoilt: own files of every kind, a grid file, runs that ended or were stopped, a comparison."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tiny_translation import TRAIN, flags, pairs, write

SHORT = {"epochs": 1, "beam": 1, "teacher": "mlp"}
GRID = """arms = ["uniform", "mlp"]
noises = ["uniform@0.4"]
seeds = [0]
jobs = 1

[run]
epochs = 1
warmup_epochs = 0
train_size = 60
meta_size = 20
valid_size = 20
batch_size = 20
meta_batch_size = 10
model_options = { width = 4 }

[arm.mlp]
teacher_lr = 0.01
"""
SIZES = {"train": 60, "meta": 20, "valid": 20}
OPTIONS = {"epochs": 1, "warmup-epochs": 0, "batch-size": 20, "meta-batch-size": 10, "threads": 1}
PICTURES = (
    *("train", "--model-options", "width=4", "--teacher", "mlp", "--noise", "uniform"),
    *(word for name, size in SIZES.items() for word in (f"--{name}-size", str(size))),
    *(word for name, value in OPTIONS.items() for word in (f"--{name}", str(value))),
)


@dataclass(frozen=True)
class Job:
    """A command, and the files that it reads and that may be spoilt."""

    name: str
    words: tuple[str, ...]
    files: tuple[str, ...]
    """Below the yard; one of them is changed."""
    stdin: str = ""
    answer: str = ""
    """A file that must be as without the damage where the command goes through; "said": what it says."""


def _translation(train: str, *more: str, held: str = ".tsv", **options: object) -> tuple[str, ...]:
    parts = [word for part in ("meta", "valid", "test") for word in (f"--{part}", f"{part}{held}")]
    options = {**SHORT, **options}
    return (*TRAIN, "--train", train, *parts, *more, *flags(**options), "--threads", "1", "--out", "new")


COLUMNS = ("--columns", "de", "en")
HELD = ("meta.tsv", "valid.tsv", "test.tsv")
JOBS = (
    Job("tsv", _translation("train.tsv"), ("train.tsv", *HELD)),
    Job("csv", _translation("train.csv", *COLUMNS, held=".csv"), ("train.csv", "meta.csv")),
    Job("jsonl", _translation("train.jsonl", *COLUMNS, held=".jsonl"), ("train.jsonl", "test.jsonl")),
    Job("gzip", _translation("train.tsv.gz"), ("train.tsv.gz",)),
    Job("lines", _translation("train.de,train.en"), ("train.de", "train.en")),
    Job("pictures", (*PICTURES, "--out", "new"), ()),
    Job("grid", ("compare", "--grid", "grid.toml", "--out", "new"), ("grid.toml",)),
    Job(
        "resume",
        ("train", "--resume", "stopped", "--threads", "1"),
        tuple(
            f"stopped/{name}" for name in ("checkpoint.pt", "checkpoint.pt", "manifest.json", "joint.model")
        ),
        answer="stopped/weights.csv",
    ),
    Job(
        "data of a stopped run",
        ("train", "--resume", "stopped", "--threads", "1"),
        ("train.tsv", *HELD),
        answer="stopped/weights.csv",
    ),
    Job(
        "suspects of pairs",
        ("suspects", "run", "--out", "new.csv"),
        ("run/weights.npz", "run/pairs.csv", "run/manifest.json"),
    ),
    Job(
        "suspects of pictures",
        ("suspects", "pictures", "--out", "new.csv"),
        ("pictures/weights.npz", "pictures/weights.npz", "pictures/manifest.json"),
        answer="new.csv",
    ),
    Job(
        "report of a run",
        ("report", "run"),
        ("run/weights.npz", "run/pairs.csv", "run/manifest.json", "run/result.json", "run/steps.jsonl"),
    ),
    Job(
        "report of a comparison",
        ("report", "compared"),
        (
            "compared/plan.json",
            "compared/manifest.json",
            *(
                f"compared/cells/{cell}/{name}"
                for cell in ("uniform-0.4.mlp.0", "uniform-0.4.uniform.0")
                for name in ("result.json", "weights.npz", "manifest.json", "steps.jsonl")
            ),
        ),
    ),
    Job(
        "comparison goes on",
        ("compare", "--grid", "grid.toml", "--out", "compared", "--resume"),
        (
            "compared/plan.json",
            "compared/manifest.json",
            "compared/cells/uniform-0.4.mlp.0/result.json",
            "compared/cells/uniform-0.4.mlp.0/manifest.json",
            "grid.toml",
        ),
    ),
    Job(
        "translate",
        ("translate", "run", "--beam", "1"),
        ("run/checkpoint.pt", "run/joint.model", "run/manifest.json"),
        stdin="rot blau\n\n gelb \u00a0\n",
        answer="said",
    ),
    Job("score", ("score", "hypothesis.txt", "reference.txt"), ("hypothesis.txt", "reference.txt")),
)


def build(yard: Path, run: Callable[..., int]) -> None:
    """Make the yard; ``run(words, folder, stop_at)`` gives the exit status of the command, which a Ctrl-C
    meets at the step ``stop_at``."""
    ends = {"train": (0, 60), "meta": (60, 76), "valid": (76, 84), "test": (84, 92)}
    for name, span in ends.items():
        rows = pairs(*span)
        write(yard / f"{name}.tsv", rows)
        with (yard / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("de", "en"), *rows])
        records = [json.dumps(dict(zip(("de", "en"), row, strict=True))) for row in rows]
        (yard / f"{name}.jsonl").write_text("\n".join([*records, ""]), encoding="utf-8")
        for place, side in enumerate(("de", "en")):
            (yard / f"{name}.{side}").write_text("".join(f"{row[place]}\n" for row in rows), encoding="utf-8")
    (yard / "train.tsv.gz").write_bytes(gzip.compress((yard / "train.tsv").read_bytes(), mtime=0))
    (yard / "grid.toml").write_text(GRID, encoding="utf-8")
    (yard / "hypothesis.txt").write_text("red blue\nyellow\n", encoding="utf-8")
    (yard / "reference.txt").write_text("red blue\nwhite\n", encoding="utf-8")
    first = [*_translation("train.tsv")[:-1], "run"]
    commands = {
        "run": first,
        "pictures": [*PICTURES, "--out", "pictures"],
        "compared": ["compare", "--grid", "grid.toml", "--out", "compared"],
    }
    for name, words in commands.items():
        status = run(words, yard)
        assert status == 0, f"{name} of the yard ended with {status}"
    status = run([*_translation("train.tsv", epochs=3)[:-1], "stopped"], yard, 4)
    assert status == 130, f"the run to be stopped ended with {status}"
