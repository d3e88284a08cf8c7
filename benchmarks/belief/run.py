"""Do probes keep what they promise?  ``python -m benchmarks.belief.run --help``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from statistics import fmean

import torch
import tyro
from rich.console import Console

import metaweight as mw
from benchmarks.belief.tables import INJECTED, KINDS, REAL, read
from benchmarks.belief.trial import Plan, Trial, trial
from benchmarks.command import exit_code
from metaweight.cli.places import run_folder
from metaweight.core.atomic import whole_file
from metaweight.core.csv_text import write_csv
from metaweight.core.markdown import markdown_table
from metaweight.core.registry import did_you_mean
from metaweight.data.folder import data_folder
from metaweight.training.run_folder import RunFolder, manifest

console = Console()
OWN = "its own"
"""The kind of wrong labels of sets that bring theirs."""


@dataclass(frozen=True)
class Options:
    """Fits ReweightedClassifier with probes on tables whose truth is known, and counts kept promises.

    Writes table.md, runs.csv and manifest.json into a folder.
    """

    data: tuple[str, ...] = (*INJECTED, *REAL)
    """Tables; those that scikit-learn has not lie below METAWEIGHT_DATA."""
    kinds: tuple[str, ...] = tuple(KINDS)
    """Kinds of wrong labels that are put into tables that bring none."""
    teachers: tuple[str, ...] = ("auto", "mw-net")
    seeds: tuple[int, ...] = (0, 1, 2)
    rows: int = 1500
    """Training rows, at most."""
    trusted: int = 200
    """Trusted rows, at most a quarter of the table."""
    probes: float = 0.05
    """Probes, as a share of the training rows."""
    epochs: int = 12
    threads: int = 1
    """CPU threads of torch."""
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/belief-TIME."""

    def __post_init__(self) -> None:
        known = {"table": (*INJECTED, *REAL), "kind": tuple(KINDS), "teacher": ("auto", *mw.teachers.names())}
        asked = {"table": self.data, "kind": self.kinds, "teacher": self.teachers}
        for what, names in asked.items():
            for name in names:
                if name not in known[what]:
                    raise KeyError(f"unknown {what} {name!r}.{did_you_mean(name, known[what])}")


def run(options: Options) -> Path:
    """Fit, write and print; the run's folder.

    Raises FileExistsError for a folder that exists, ValueError where a table is not there.
    """
    torch.set_num_threads(options.threads)
    folder = data_folder(None) or Path()
    tables = {name: read(name, folder) for name in options.data}
    path = run_folder(options.out, "belief")
    place = RunFolder.create(path, manifest(asdict(options), sys.argv)).path
    plan = Plan(options.rows, options.trusted, options.probes, options.epochs)
    trials = []
    for seed in options.seeds:
        for name, data in tables.items():
            for kind in (OWN,) if data.given is not None else options.kinds:
                for teacher in options.teachers:
                    trials.append(trial(name, data, kind, teacher, seed, plan))
                    about = f"{name}, {kind}, {teacher}, seed {seed}"
                    console.print(f"{about}: {_said(trials[-1])}", highlight=False)
    write_csv(place / "runs.csv", [field.name for field in fields(Trial)], map(astuple, trials))
    with whole_file(place / "table.md") as file:
        file.write(to_markdown(trials, options).encode())
    console.print(f"run folder: {place}", soft_wrap=True)
    return place


def _said(one: Trial) -> str:
    if one.precision is None:
        return one.verdict
    interval = f"({one.precision_low:.2f} to {one.precision_high:.2f})"
    return f"{one.told_precision:.2f} {interval}, is {one.precision:.2f}"


def to_markdown(trials: Sequence[Trial], options: Options) -> str:
    """Promises that were kept, by table, by kind of wrong labels, by teacher, and in all."""
    headings = (
        *("of", "fits", "a cut-off was given", "precision within its interval", "not below it"),
        *("width", "told less true", "share of wrong rows within", "AUROC within"),
    )
    rows = []
    for figure in ("data", "kind", "teacher"):
        for name in dict.fromkeys(getattr(one, figure) for one in trials):
            rows.append((name, *_counts([one for one in trials if getattr(one, figure) == name])))
    rows.append(("all", *_counts(trials)))
    return f"{markdown_table(headings, rows)}\n\n{_about(trials, options)}\n"


def _about(trials: Sequence[Trial], options: Options) -> str:
    verdicts = []
    for verdict in dict.fromkeys(one.verdict for one in trials):
        areas = [one.auroc for one in trials if one.verdict == verdict]
        verdicts.append(f"{verdict}: {len(areas)} fits, mean AUROC {_mean(areas)}")
    return (
        f"{options.rows:,} rows and {options.trusted} trusted rows at most, probes {options.probes:g} of the "
        f"rows, {options.epochs} epochs, {len(options.seeds)} seeds; 95 % intervals. Verdicts, with the "
        f"weights' AUROC on the rows themselves: {'; '.join(verdicts)}."
    )


def _counts(trials: Sequence[Trial]) -> tuple[str, ...]:
    told = [one for one in trials if one.precision is not None]
    return (
        str(len(trials)),
        str(len(told)),
        _share([_within(one.precision, one.precision_low, one.precision_high) for one in told]),
        _share([_within(one.precision, one.precision_low, 1.0) for one in told]),
        _mean([(one.precision_high or 0.0) - (one.precision_low or 0.0) for one in told]),
        _mean([(one.told_precision or 0.0) - (one.precision or 0.0) for one in told]),
        _share([_within(o.wrong, o.wrong_low, o.wrong_high) for o in trials if o.told_wrong is not None]),
        _share([_within(o.auroc, o.told_low, o.told_high) for o in trials if o.told_auroc is not None]),
    )


def _within(true: float | None, low: float | None, high: float | None) -> bool:
    return true is not None and low is not None and high is not None and low <= true <= high


def _share(kept: Sequence[bool]) -> str:
    return f"{fmean(kept):.0%}" if kept else ""


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{fmean(known):.2f}" if known else ""


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(lambda: run(tyro.cli(Options, args=args, prog="python -m benchmarks.belief.run")))


if __name__ == "__main__":
    sys.exit(main())
