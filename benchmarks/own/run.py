"""Own data: ``auto`` against plain training and cleanlab.  ``python -m benchmarks.own.run --help``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from datetime import datetime
from pathlib import Path
from statistics import fmean, stdev

import torch
import tyro
from rich.console import Console

from benchmarks.command import exit_code
from benchmarks.own.sets import SETS, case
from benchmarks.own.trial import Trial, cleanlab_trial, own_trial
from metaweight.core.atomic import whole_file
from metaweight.core.csv_text import write_csv
from metaweight.core.markdown import markdown_table
from metaweight.core.registry import did_you_mean
from metaweight.data.folder import data_folder
from metaweight.training.run_folder import RunFolder, manifest

console = Console()
SLACK = 0.02
"""How much AUROC ``auto`` may be below cleanlab's."""


@dataclass(frozen=True)
class Options:
    """Trains on sets of which some rows are wrong, as ``metaweight.fit`` does with its defaults.

    Writes table.md, runs.csv and manifest.json into a folder.
    """

    data: tuple[str, ...] = tuple(SETS)
    """Sets; all but digits lie below METAWEIGHT_DATA."""
    seeds: tuple[int, ...] = (0, 1, 2)
    rows: int = 2000
    """Training rows, at most."""
    rate: float = 0.3
    """Share of wrong labels in sets that bring none."""
    probes: float = 0.03
    """Probes of ``auto``, as a share of the training rows."""
    threads: int = 1
    """CPU threads of torch."""
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/own-TIME."""

    def __post_init__(self) -> None:
        for name in self.data:
            if name not in SETS:
                raise KeyError(f"unknown set {name!r}.{did_you_mean(name, SETS)}")


def run(options: Options) -> Path:
    """Train, write and print; the run's folder.

    Raises FileExistsError for a folder that exists, ValueError where a set is not there.
    """
    torch.set_num_threads(options.threads)
    folder = data_folder(None) or Path()
    path = Path(options.out) if options.out else Path("runs") / f"own-{datetime.now():%Y%m%d-%H%M%S}"
    place = RunFolder.create(path, manifest(asdict(options), sys.argv)).path
    trials: list[Trial] = []
    for name in options.data:
        whole = SETS[name][1](folder)
        for seed in options.seeds:
            own = case(name, whole, seed, rows=options.rows, rate=options.rate)
            trials.append(own_trial(own, "uniform", seed, options.probes))
            trials.append(own_trial(own, "auto", seed, options.probes))
            trials.append(cleanlab_trial(own, seed))
            for one in trials[-3:]:
                console.print(_said(one), highlight=False)
        _write(trials, place, options)
    console.print(f"run folder: {place}", soft_wrap=True)
    return place


def _write(trials: Sequence[Trial], place: Path, options: Options) -> None:
    write_csv(place / "runs.csv", [field.name for field in fields(Trial)], map(astuple, trials))
    with whole_file(place / "table.md") as file:
        file.write(f"{to_markdown(trials, options)}\n".encode())


def _said(one: Trial) -> str:
    figures = [f"{one.accuracy:.1f} %" if one.accuracy is not None else ""]
    figures += [f"AUROC {one.auroc:.3f}" if one.auroc is not None else "", one.verdict]
    return f"{one.data}, seed {one.seed}, {one.arm}: {', '.join(filter(None, figures))}, {one.seconds:.0f} s"


def to_markdown(trials: Sequence[Trial], options: Options) -> str:
    """A row a set, and how often the promises were kept."""
    headings = (
        *("set", "kind", "rows", "wrong", "plain, %", "auto, %", "difference, points"),
        *("AUROC, auto", "AUROC, cleanlab", "what the probes said", "kept"),
    )
    names = list(dict.fromkeys(one.data for one in trials))
    rows = [_row([one for one in trials if one.data == name]) for name in names]
    kept = sum(row[-1] == "yes" for row in rows)
    about = (
        f"At most {options.rows:,} training rows, {options.rate:.0%} wrong labels put into sets that bring "
        f"none, {len(options.seeds)} seeds, mean ± standard deviation. Kept: auto is at least as accurate as "
        "plain training within the spread of the difference, and finds wrong rows at least as well as "
        f'cleanlab less {SLACK:g} of AUROC; "said so": not, but the probes said in a seed or more that the '
        f"weights are not to be believed. {kept} of {len(rows)} sets are kept."
    )
    return f"{markdown_table(headings, rows)}\n\n{about}"


def _row(trials: Sequence[Trial]) -> tuple[str, ...]:
    arms = {arm: [one for one in trials if one.arm == arm] for arm in ("uniform", "auto", "cleanlab")}
    plain, auto = ([one.accuracy or 0.0 for one in arms[arm]] for arm in ("uniform", "auto"))
    own, other = ([one.auroc or 0.0 for one in arms[arm]] for arm in ("auto", "cleanlab"))
    apart = [b - a for a, b in zip(plain, auto, strict=True)]
    verdicts = [one.verdict for one in arms["auto"]]
    warned = any(verdict in ("chance", "inverted") for verdict in verdicts)
    good = fmean(apart) + _spread(apart) >= 0 and fmean(own) >= fmean(other) - SLACK
    first = trials[0]
    return (
        *(first.data, first.kind, f"{first.rows:,}", f"{first.wrong:.0%}"),
        *(_mean(plain, 1), _mean(auto, 1), _mean(apart, 1), _mean(own, 2), _mean(other, 2)),
        ", ".join(f"{verdict} {verdicts.count(verdict)}" for verdict in dict.fromkeys(verdicts)),
        "yes" if good else "said so" if warned else "no",
    )


def _mean(values: Sequence[float], digits: int) -> str:
    return f"{fmean(values):.{digits}f} ± {_spread(values):.{digits}f}"


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(lambda: run(tyro.cli(Options, args=args, prog="python -m benchmarks.own.run")))


if __name__ == "__main__":
    sys.exit(main())
