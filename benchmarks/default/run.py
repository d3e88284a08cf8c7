"""The suite of the default: every arm on every set under every kind of bad data, and a leaderboard.

``python -m benchmarks.default.run --help``
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import tyro
from rich.console import Console

from benchmarks.command import exit_code
from benchmarks.default.across import Run, across, means
from benchmarks.default.diagram import draw
from benchmarks.default.page import DIAGRAM, leaderboard, signature
from benchmarks.default.plans import SetPlan, arms, plans, profile
from metaweight import MetaweightError
from metaweight.cli.places import run_folder
from metaweight.comparison.cells import CellResult
from metaweight.comparison.suite import compare
from metaweight.core.atomic import whole_file
from metaweight.core.console import Terminal
from metaweight.core.csv_text import read_csv, write_csv
from metaweight.tasks import tasks
from metaweight.training.run_folder import RunFolder, manifest

console = Console()
RUNS, PAGE = "runs.csv", "table.md"


@dataclass(frozen=True)
class Options:
    """Trains every arm of arms/ on every set of sets/ and ranks them over the sets.

    Writes table.md, which is the leaderboard, critical-difference.png, runs.csv and manifest.json into a
    folder, and a comparison for each set below sets/.  A set whose data are not here is left out, and said.
    """

    profile: str = "quick"
    """A table of profiles.toml: quick, held-out, kinds, relabel or standard."""
    sets: tuple[str, ...] = ()
    """Default: all that have the profile."""
    arms: tuple[str, ...] = ()
    """Default: all of the profile."""
    seeds: tuple[int, ...] = ()
    """Default: the profile's."""
    jobs: int = 2
    """Runs side by side."""
    out: str | None = None
    """Folder of this run. Default: runs/default-TIME."""
    resume: bool = False
    """Go on in the folder --out: what has ended there is kept."""


def run(options: Options) -> Path:
    """Train, write and print; the run's folder.

    Raises FileExistsError for a folder that exists without ``resume``, ValueError for ``resume`` without one,
    KeyError and ValueError as ``plans``, MetaweightError at the end where a run has failed.
    """
    began = time.perf_counter()
    todo = plans(options.profile, options.sets, options.arms, options.seeds)
    path = run_folder(options.out, "default", resume=options.resume)
    about = manifest(asdict(options), sys.argv)
    if options.resume and path.is_dir():
        place = RunFolder.open(path).path
        about = {**about, "started": RunFolder.open(path).manifest()["started"]}
    else:
        place = RunFolder.create(path, about).path
    runs: list[Run] = []
    absent: list[str] = []
    for one in todo:
        console.rule(one.name)
        if why := _not_here(one):
            absent.append(one.name)
            console.print(f"{one.name} is left out: {why}", style="yellow", soft_wrap=True)
        else:
            runs += _of_set(one, place / "sets" / one.name, options)
    if not runs:
        raise ValueError("no set's data are here: METAWEIGHT_DATA names their folder")
    write_csv(place / RUNS, [field.name for field in fields(Run)], map(astuple, runs))
    said = signature(about, runs, profile=options.profile, budget=profile(options.profile).budget)
    about_arms = {name: arm.about for name, arm in arms(options.arms, of=options.profile).items()}
    text = write_page(runs, place, about_arms, said)
    console.print(text.split("\n\n## ")[0], markup=False, highlight=False, soft_wrap=True)
    if absent:
        console.print(f"left out, for their data are not here: {', '.join(absent)}", soft_wrap=True)
    console.print(
        f"run folder: {place}, after {(time.perf_counter() - began) / 60:.1f} minutes", soft_wrap=True
    )
    if failed := sum(run.value is None for run in runs):
        raise MetaweightError(f"{failed} of {len(runs)} runs failed, see above and the end of {place / PAGE}")
    return place


def _not_here(one: SetPlan) -> str:
    """Why the set cannot be read, by plain training's options; empty where it can."""
    try:
        tasks[one.plan.task].prepare(one.plan.grid.cells()[0].config)
    except (ValueError, ImportError) as error:
        return str(error)
    return ""


def _of_set(one: SetPlan, place: Path, options: Options) -> list[Run]:
    """The comparison of one set, run or gone on with."""
    place.parent.mkdir(exist_ok=True)
    found = compare(
        one.plan.grid,
        place,
        jobs=options.jobs,
        console=Terminal(),
        resume=options.resume and place.is_dir(),
        tuning=one.plan.tuning,
    )
    return [_run(one, result) for result in found.results]


def _run(one: SetPlan, result: CellResult) -> Run:
    main = tasks[one.plan.task].presentation.compared[0].figure
    figures = {} if result.result is None else result.result.figures
    if result.failure is not None:
        console.print(f"{result.cell.name}: {result.failure.error}", style="red", soft_wrap=True)
    return Run(
        *(one.name, one.plan.task, result.cell.noise, result.cell.arm, result.cell.config.seed),
        *(figures.get(name) for name in (main, "auroc", "realised_noise", "seconds")),
    )


def write_page(runs: Sequence[Run], place: Path, about: dict[str, str], said: str) -> str:
    """Write the leaderboard and its diagram, over earlier ones; its text."""
    found = means(runs)
    ranked = across(found)
    (place / DIAGRAM).unlink(missing_ok=True)
    if ranked.critical is not None:
        draw(ranked, place / DIAGRAM)
    text = leaderboard(runs, found, ranked, about, said)
    with whole_file(place / PAGE) as file:
        file.write(text.encode())
    return text


def read_runs(path: Path) -> list[Run]:
    """Those of runs.csv."""
    kinds = {"data": str, "task": str, "noise": str, "arm": str, "seed": int}
    return [
        Run(**{name: kinds.get(name, _number)(cell) for name, cell in row.items()}) for row in read_csv(path)
    ]


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def main(args: Sequence[str] | None = None) -> int:
    """Run the suite; 0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(lambda: run(tyro.cli(Options, args=args, prog="python -m benchmarks.default.run")))


if __name__ == "__main__":
    sys.exit(main())
