"""Raters of one half of a table on the other half.  ``python -m benchmarks.rater.run --help``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import torch
import tyro
from rich.console import Console

import metaweight as mw
from benchmarks.command import exit_code
from benchmarks.own.sets import SETS, WRONG, case
from benchmarks.rater.tables import to_markdown
from benchmarks.rater.trial import Trial, trials
from metaweight.cli.places import run_folder
from metaweight.core.atomic import whole_file
from metaweight.core.csv_text import write_csv
from metaweight.core.registry import did_you_mean
from metaweight.data.folder import data_folder
from metaweight.tasks.rating.choice import count_of
from metaweight.training.run_folder import RunFolder, manifest

console = Console()
KNOWN = tuple(name for name, (kind, _) in SETS.items() if kind in ("tabular", "text"))


@dataclass(frozen=True)
class Options:
    """Trains raters on one half of a set, rates the other half, and trains plainly on what they keep.

    Writes table.md, runs.csv and manifest.json into a folder.
    """

    data: tuple[str, ...] = ("satellite", "spambase", "magic_gamma")
    """Sets of classes, below METAWEIGHT_DATA."""
    teachers: tuple[str, ...] = ("evidence", "memory", "jury", "knn")
    """Raters; the student of the first one is that of the arm loss."""
    seeds: tuple[int, ...] = (0, 1, 2)
    rows: int = 1500
    """Rows of each half, at most."""
    rate: float = 0.3
    """Share of wrong labels, in both halves."""
    wrong: tuple[str, ...] = ("uniform", "first-class")
    """Which labels these are: of all rows alike; first-class: of those of the first class, half of them."""
    keep: float = 0.6
    """Share of the new rows that is kept."""
    threads: int = 1
    """CPU threads of torch."""
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/rater-TIME."""

    def __post_init__(self) -> None:
        known = {"set": KNOWN, "teacher": mw.teachers.names(), "kind of wrong labels": WRONG}
        given = {"set": self.data, "teacher": self.teachers, "kind of wrong labels": self.wrong}
        for what, names in given.items():
            for name in names:
                if name not in known[what]:
                    raise KeyError(f"unknown {what} {name!r}.{did_you_mean(name, known[what])}")
        count_of(self.keep, 1)


def run(options: Options) -> Path:
    """Train, write and print; the run's folder.

    Raises FileExistsError for a folder that exists, ValueError where a set is not there.
    """
    torch.set_num_threads(options.threads)
    folder = data_folder(None) or Path()
    path = run_folder(options.out, "rater")
    place = RunFolder.create(path, manifest(asdict(options), sys.argv)).path
    done: list[Trial] = []
    for wrong in options.wrong:
        rate = options.rate if wrong == "uniform" else 0.5
        for name in options.data:
            whole = SETS[name][1](folder)
            for seed in options.seeds:
                own = case(name, whole, seed, rows=2 * options.rows, rate=rate, wrong=wrong)
                for one in trials(own, wrong, options.teachers, options.keep, seed):
                    done.append(one)
                    console.print(_said(one), highlight=False)
                _write(done, place, options)
    console.print(f"run folder: {place}", soft_wrap=True)
    return place


def _write(done: Sequence[Trial], place: Path, options: Options) -> None:
    write_csv(place / "runs.csv", [field.name for field in fields(Trial)], map(astuple, done))
    with whole_file(place / "table.md") as file:
        file.write(f"{to_markdown(done, keep=options.keep)}\n".encode())


def _said(one: Trial) -> str:
    area = "" if one.auroc is None else f"AUROC {one.auroc:.3f}, "
    return f"{one.data}, {one.wrong}, seed {one.seed}, {one.arm}: {area}{one.accuracy:.1f} %"


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(lambda: run(tyro.cli(Options, args=args, prog="python -m benchmarks.rater.run")))


if __name__ == "__main__":
    sys.exit(main())
