"""How the cost of an iteration grows: ``python -m benchmarks.speed.growth --help``."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median

import torch
import tyro
from rich.console import Console
from torch import nn

import metaweight as mw
from benchmarks.command import exit_code
from benchmarks.speed.iterate import Refused
from benchmarks.speed.measure import beside_plain, memory_in_fresh_process
from benchmarks.speed.students import LENGTHS, VOCABULARIES
from benchmarks.speed.variants import PLAIN, Setting, Variant
from metaweight.cli.places import run_folder
from metaweight.core.markdown import markdown_table
from metaweight.training.run_folder import RunFolder, manifest

console = Console()
SAMPLES = (10**4, 10**5, 10**6, 10**7)
TEACHERS = ("mw-net", "memory", "recall", "jury")
BATCHES, WINDOWS = (16, 64, 256), (2, 4, 8)
GHOST = Variant(engine="ghost", schedule="online")
REVERSE = Variant(engine="reverse", options={"replay": "snapshots"})
"""AdamW steps cannot be undone."""
SCHEDULES = ("online", "lookahead")


@dataclass(frozen=True)
class Options:
    """Time and memory of an iteration by the number of samples, and by length, vocabulary, batch and window.

    Writes table.md and manifest.json into a new folder.
    """

    rounds: int = 7
    """Measured rounds; each takes every variant once."""
    most: int = SAMPLES[-1]
    """Samples, lengths, vocabularies and batches above this are left out."""
    threads: int = 1
    """CPU threads of torch."""
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/growth-TIME."""

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.threads < 1:
            raise ValueError("--rounds and --threads are at least 1")


def live(teacher: str, samples: int) -> tuple[mw.Reweighter, mw.Batch]:
    """A small student of rows with a teacher that may keep something of each of ``samples``, and its meta
    batch."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
    student, meta = mw.Student(module, taps=("1",)), rows(32, range(samples))
    made = mw.build_teacher(teacher, student.spec(meta, samples=samples))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    return mw.Reweighter(student, made, optimizer=optimizer, schedule="online"), meta


def rows(count: int, places: range) -> mw.Batch:
    """Random rows of which each may be any of ``places``, none twice."""
    index = torch.tensor(places.start) + torch.randperm(min(len(places), 10**6))[:count]
    index = index * (len(places) // min(len(places), 10**6))
    return mw.Batch((torch.randn(count, 20),), torch.randint(0, 5, (count,)), index)


def by_samples(options: Options) -> Iterator[tuple[str, ...]]:
    """Samples, then for each teacher ms a step, and MB that it keeps and MB of a checkpoint."""
    for samples in (n for n in SAMPLES if n <= options.most):
        cells = [f"{samples:,}"]
        for teacher in TEACHERS:
            reweighter, meta = live(teacher, samples)
            seconds = []
            for _ in range(10 + 5 * options.rounds):
                train = rows(32, range(samples))
                start = time.perf_counter()
                reweighter.step(train, meta)
                seconds.append(time.perf_counter() - start)
            held = sum(value.nbytes for value in reweighter.teacher.state_dict().values())
            with tempfile.TemporaryDirectory() as folder:
                mw.save_checkpoint(reweighter, Path(folder) / "checkpoint")
                written = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
            cells.append(f"{1e3 * median(seconds[10:]):.1f} ms, {held / 1e6:.1f} MB, {written / 1e6:.1f} MB")
        yield tuple(cells)


def by_size(options: Options) -> Iterator[tuple[str, ...]]:
    """What grows, its value, then plain ms, and what ``ghost`` or ``reverse`` takes in plain steps."""
    small = Setting("lm-t32", 64, 8, options.threads)
    sizes = [
        *(("length", n, replace(small, model=f"lm-t{n}")) for n in LENGTHS),
        *(("vocabulary", n, replace(small, model=f"lm-v{n}")) for n in VOCABULARIES),
        *(("batch", n, replace(small, batch=n)) for n in BATCHES),
    ]
    for what, size, setting in sizes:
        if size <= options.most:
            yield what, f"{size:,}", *measured(GHOST, setting, options.rounds)
    for schedule, window in product(SCHEDULES, WINDOWS):
        variant = replace(REVERSE, schedule=schedule, unroll=window)
        yield f"window, {schedule}", f"{window}", *measured(variant, small, options.rounds)


def measured(variant: Variant, setting: Setting, rounds: int) -> tuple[str, str, str]:
    """Milliseconds of a plain step; a step of ``variant`` in these, with quartiles; memory likewise."""
    try:
        # of one thread, whose other work on the machine then does not count
        clock = time.process_time if setting.threads == 1 else time.perf_counter
        plain, (steps,) = beside_plain([variant], setting, rounds, clock=clock)
    except (Refused, mw.MetaweightError) as error:
        return "", f"refused: {error}", ""
    memory = [memory_in_fresh_process(each, setting) for each in (PLAIN, variant)]
    return plain, steps, f"{memory[1] / memory[0]:.2f} of {memory[0] / 1e6:.0f} MB"


def run(options: Options) -> Path:
    """Measure, write and print; the run's folder.  Raises FileExistsError for a folder that exists."""
    torch.set_num_threads(options.threads)
    folder = RunFolder.create(run_folder(options.out, "growth"), manifest(asdict(options), sys.argv)).path
    samples = markdown_table(("samples", *TEACHERS), by_samples(options))
    sizes = markdown_table(
        ("what grows", "", "plain step, ms", "plain steps", "memory, plain ones"), by_size(options), left=1
    )
    text = (
        "A step of a small student of rows, batch 32 + 32, `online`: its time, what the teacher keeps, and "
        f"a checkpoint of it all.\n\n{samples}\n\n"
        "A language model of two layers (width 256, AdamW), 64 rows of 32 bytes and 8 in the meta batch "
        "where nothing else is said: `ghost`, `online`; windows of K inner steps: `reverse`, a step of them, "
        "real ones where they are `online`, beside real ones in `lookahead`. Memory is that of an "
        f"iteration at its peak, a checked one among them, in a fresh process.\n\n{sizes}\n\n"
        f"{options.rounds} interleaved rounds, {options.threads} CPU threads; quartiles in brackets"
        f"{', of CPU seconds in the lower table' if options.threads == 1 else ''}.\n"
    )
    (folder / "table.md").write_text(text)
    console.print(text, markup=False)
    return folder


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(lambda: run(tyro.cli(Options, args=args, prog="python -m benchmarks.speed.growth")))


if __name__ == "__main__":
    sys.exit(main())
