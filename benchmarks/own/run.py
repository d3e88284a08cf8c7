"""Own data: ``auto`` against plain training and other rules.  ``python -m benchmarks.own.run --help``."""

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
from benchmarks.own.sets import SETS, TWELVE, WRONG, case
from benchmarks.own.tables import to_markdown
from benchmarks.own.trial import Trial, own_trial, reference
from metaweight.cli.places import run_folder
from metaweight.core.atomic import whole_file
from metaweight.core.csv_text import write_csv
from metaweight.core.registry import did_you_mean
from metaweight.data.folder import data_folder
from metaweight.training.run_folder import RunFolder, manifest

console = Console()


@dataclass(frozen=True)
class Options:
    """Trains on sets of which some rows are wrong, as ``metaweight.fit`` does with its defaults.

    Writes table.md, runs.csv and manifest.json into a folder.
    """

    data: tuple[str, ...] = TWELVE
    """Sets; all but digits, diabetes and cldr-dates lie below METAWEIGHT_DATA."""
    teachers: tuple[str, ...] = ("auto",)
    """Beside plain training."""
    seeds: tuple[int, ...] = (0, 1, 2)
    rows: int = 2000
    """Training rows, at most."""
    rate: float = 0.3
    """Share of wrong labels or numbers in sets that bring none."""
    wrong: str = "uniform"
    """Which labels these are: of all rows alike; first-class: those of the first class alone; flip: of all
    rows alike, each the next class."""
    probes: float = 0.03
    """Probes of the teachers, as a share of the training rows."""
    threads: int = 1
    """CPU threads of torch."""
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/own-TIME."""

    def __post_init__(self) -> None:
        known = {"set": tuple(SETS), "teacher": ("auto", *mw.teachers.names())}
        for what, names in (("set", self.data), ("teacher", self.teachers)):
            for name in names:
                if name not in known[what]:
                    raise KeyError(f"unknown {what} {name!r}.{did_you_mean(name, known[what])}")
        if self.wrong not in WRONG:
            raise ValueError(f"wrong is one of {', '.join(WRONG)}, got {self.wrong!r}")


def run(options: Options) -> Path:
    """Train, write and print; the run's folder.

    Raises FileExistsError for a folder that exists, ValueError where a set is not there.
    """
    torch.set_num_threads(options.threads)
    folder = data_folder(None) or Path()
    path = run_folder(options.out, "own")
    place = RunFolder.create(path, manifest(asdict(options), sys.argv)).path
    trials: list[Trial] = []
    for name in options.data:
        whole = SETS[name][1](folder)
        for seed in options.seeds:
            own = case(name, whole, seed, rows=options.rows, rate=options.rate, wrong=options.wrong)
            arms = ("uniform", *options.teachers)
            new = [*(own_trial(own, arm, seed, options.probes) for arm in arms), reference(own, seed)]
            trials += new
            for one in new:
                console.print(_said(one), highlight=False)
        _write(trials, place, options)
    console.print(f"run folder: {place}", soft_wrap=True)
    return place


def _write(trials: Sequence[Trial], place: Path, options: Options) -> None:
    write_csv(place / "runs.csv", [field.name for field in fields(Trial)], map(astuple, trials))
    with whole_file(place / "table.md") as file:
        text = to_markdown(trials, rows=options.rows, rate=options.rate, wrong=options.wrong)
        file.write(f"{text}\n".encode())


def _said(one: Trial) -> str:
    figures = [f"{one.accuracy:.1f} %" if one.accuracy is not None else ""]
    figures += [f"R² {one.r2:.3f}" if one.r2 is not None else ""]
    figures += [f"F1 {one.f1:.1f} %" if one.kind == "tokens" and one.f1 is not None else ""]
    figures += [f"AUROC {one.auroc:.3f}" if one.auroc is not None else "", one.verdict]
    return f"{one.data}, seed {one.seed}, {one.arm}: {', '.join(filter(None, figures))}, {one.seconds:.0f} s"


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(lambda: run(tyro.cli(Options, args=args, prog="python -m benchmarks.own.run")))


if __name__ == "__main__":
    sys.exit(main())
