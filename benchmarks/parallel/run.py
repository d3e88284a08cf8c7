"""Throughput, memory and exactness of 1, 2, 4 processes: ``python -m benchmarks.parallel.run --help``."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from unittest.mock import patch

import tyro
from rich.console import Console
from tyro.conf import OmitArgPrefixes

from benchmarks.command import exit_code
from benchmarks.parallel.work import Job, Taken, work
from metaweight.cli.places import run_folder
from metaweight.core.atomic import whole_file
from metaweight.core.markdown import markdown_table
from metaweight.training.run_folder import RunFolder, manifest

console = Console()
GIVING_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""With these glibc gives back at once what a process frees: else its peak is that of the allocator."""
NO_GROUP = 0
"""In place of a number of processes: one, as ``python`` starts it."""
WHOLE = "DistributedDataParallel: each process holds all parameters, and gradients are summed up."
SHARDED = "fully_shard: each process holds shards, and each layer is gathered for its call."


@dataclass(frozen=True)
class Options:
    """Trains one student in 1, 2, 4 processes on this machine, each with a part of the same batches.

    Beside them: one process without a group, as ``python`` starts it.
    Writes table.md and manifest.json into a folder.
    """

    job: OmitArgPrefixes[Job] = Job()  # noqa: RUF009 - frozen
    processes: tuple[int, ...] = (1, 2, 4)
    rounds: int = 3
    """Rounds; in each all numbers of processes take their turn."""
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/parallel-TIME."""

    def __post_init__(self) -> None:
        if not self.processes or min(self.processes) < 1 or self.rounds < 1:
            raise ValueError(f"processes and rounds are 1 or more, got {self.processes} and {self.rounds}")


@dataclass(frozen=True)
class Figures:
    """Of one number of processes."""

    seconds: float
    memory: float
    sent: float
    off: float
    """Farthest that a parameter is from one process's, as a share of the largest of its tensor."""


def run(options: Options) -> Path:
    """Measure, write and print; the run's folder.  Raises FileExistsError for a folder that exists."""
    path = run_folder(options.out, "parallel")
    place = RunFolder.create(path, manifest(asdict(options), sys.argv)).path
    plain = replace(options.job, sharded=False)
    alone = measured(NO_GROUP, plain)[0]
    found: dict[int, list[Figures]] = {size: [] for size in (NO_GROUP, *options.processes)}
    for number in range(options.rounds):
        for size in found:
            figures = figures_of(measured(size, options.job if size else plain), alone)
            found[size].append(figures)
            pace = options.job.batch_size / figures.seconds
            console.print(f"round {number + 1}, {named(size)}: {pace:,.0f} rows/s", highlight=False)
    table = to_markdown(found, options.job)
    with whole_file(place / "table.md") as file:
        file.write(table.encode())
    console.print(table, highlight=False)
    console.print(f"run folder: {place}", soft_wrap=True)
    return place


def measured(size: int, job: Job) -> list[Taken]:
    """What ``size`` new processes measure, by rank; one without a group where that is ``NO_GROUP``."""
    with (
        patch.dict(os.environ, GIVING_BACK),
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(max(size, 1), mp_context=get_context("spawn")) as pool,
    ):
        store = str(Path(folder) / "store") if size else None
        waiting = [pool.submit(work, rank, max(size, 1), job, store) for rank in range(max(size, 1))]
        return [one.result() for one in waiting]


def named(size: int) -> str:
    """As the table says it."""
    return str(size) if size else "1, no group"


def figures_of(taken: Sequence[Taken], alone: Taken) -> Figures:
    """The slowest and the largest of all, and how far the first one's student is from one process's."""
    off = max(
        float((value - alone.student[name]).abs().max() / alone.student[name].abs().max())
        for name, value in taken[0].student.items()
    )
    return Figures(max(one.seconds for one in taken), max(one.memory for one in taken), taken[0].sent, off)


def to_markdown(found: dict[int, list[Figures]], job: Job) -> str:
    """A row for each number of processes; medians over rounds."""
    first = found[NO_GROUP]
    rows = []
    for size, rounds in found.items():
        ratios = [one.seconds / other.seconds for one, other in zip(first, rounds, strict=True)]
        rows.append(
            (
                named(size),
                f"{job.batch_size / median(one.seconds for one in rounds):,.0f}",
                f"{median(ratios):.3f}",
                f"{median(one.memory for one in rounds):,.0f}",
                f"{rounds[0].sent:.2f}",
                f"{max(one.off for one in rounds):.1e}",
            )
        )
    headings = (
        *("processes", "rows/s", "times the pace of no group", "MiB for the student"),
        *("copies of the parameters sent", "off from one process, float64"),
    )
    about = (
        f"engine {job.engine}, {job.schedule}; {job.batch_size} rows and {job.meta_batch_size} trusted rows "
        f"in all, {job.depth} layers of {job.width}; one thread a process, {job.device}; medians over "
        f"{len(first)} interleaved rounds. {SHARDED if job.sharded else WHOLE}"
    )
    return f"{markdown_table(headings, rows)}\n\n{about}\n"


def main() -> int:
    """Parse the command line and run."""
    options = tyro.cli(Options)
    return exit_code(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
