"""What an iteration costs, in plain steps and in memory: ``python -m benchmarks.speed.run --help``."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from benchmarks.command import exit_code
from benchmarks.speed.charts import write_charts
from benchmarks.speed.facts import Asked, gather, try_all, widest
from benchmarks.speed.groups import chosen
from benchmarks.speed.iterate import Iterate
from benchmarks.speed.measure import Timing, interleaved
from benchmarks.speed.peers import peers, versions
from benchmarks.speed.start import random_pair
from benchmarks.speed.students import subject
from benchmarks.speed.table import BRIEF, Row, brief, rows, to_csv, to_markdown
from benchmarks.speed.variants import PLAIN, Setting, Variant
from metaweight.cli.places import run_folder
from metaweight.training.run_folder import RunFolder, manifest

console = Console()


@dataclass(frozen=True)
class Options:
    """Cost of one iteration of each engine and schedule, against a plain training step.

    Writes table.md, table.csv, rounds.csv, manifest.json and charts into a new folder.
    """

    groups: tuple[str, ...] = ("engines", "every")
    """Which variants: engines, modes (compiled, bf16), every, meta-batch, cheap (both, online, compiled too),
    unroll, peers."""
    only: tuple[str, ...] = ()
    """Of these, those whose name matches one of some patterns, such as 'forward*'."""
    rounds: int = 20
    """Measured rounds; each takes every variant once."""
    warmup: int = 2
    """Rounds before them that are not counted."""
    batch: int | None = None
    """Images or sentence pairs in the train batch; default: 100 images, 64 pairs."""
    meta_batch: int | None = None
    """As many in the meta batch."""
    model: str = "resnet-32"
    """The student: an image model, mlp, or a translator (transformer-small)."""
    threads: int = 2
    """CPU threads of torch."""
    seed: int = 0
    memory: bool = True
    """Measure extra peak memory, a fresh process for each variant (Linux)."""
    flops: bool = True
    """Count floating-point operations, and how often an iteration would wait for a GPU."""
    deviation: bool = True
    """Compare the teacher's gradient with that of `higher` in float64."""
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/speed-TIME."""

    def __post_init__(self) -> None:
        subject(self.model)  # KeyError, with the nearest name, before anything is written
        least = {"rounds": 2, "warmup": 0, "batch": 2, "meta_batch": 2, "threads": 1}
        for name, value in least.items():
            got = getattr(self, name)
            if got is not None and got < value:
                raise ValueError(f"--{name.replace('_', '-')} is at least {value}, got {got}")
        _ = self.variants  # KeyError for an unknown group, or a pattern without a match

    @property
    def setting(self) -> Setting:
        """What the variants share."""
        usual = subject(self.model).batch
        return Setting(self.model, self.batch or usual, self.meta_batch or usual, self.threads, self.seed)

    @property
    def variants(self) -> list[Variant]:
        """What is compared; the plain step is the first."""
        return chosen(self.groups, self.setting, self.only)

    @property
    def folder(self) -> Path:
        """Where the run goes."""
        return run_folder(self.out, "speed")

    @property
    def caption(self) -> str:
        """What was measured, in a sentence under the table."""
        setting = self.setting
        least = 1 + setting.meta_batch / setting.batch + 1 / 3
        return (
            f"{self.model}, {subject(self.model).described}, "
            f"batch {setting.batch} + {setting.meta_batch}, {torch.get_default_dtype()}, "
            f"{self.threads} CPU threads, {self.rounds} interleaved rounds; quartiles in brackets. "
            f"An exact iteration needs {least:.2f} plain steps in FLOPs: the real step, "
            "the meta batch's gradient and one product more for each layer."
        ).replace("torch.", "")


def time_all(options: Options, iterates: Mapping[Variant, Iterate]) -> list[Timing]:
    """Time variants in this process."""
    generator = torch.Generator().manual_seed(options.seed)
    drawn = replace(options.setting, meta_batch=widest(list(iterates), options.setting))
    interleaved(iterates, (random_pair(drawn, generator) for _ in range(options.warmup)), generator)
    rounds = track(range(options.rounds), "rounds", console=console)
    return interleaved(iterates, (random_pair(drawn, generator) for _ in rounds), generator)


def write_rounds(path: Path, timings: Sequence[Timing]) -> None:
    """Every timing, so that any other statistic can be had from them."""
    with path.open("x", newline="") as file:
        write = csv.writer(file, lineterminator="\n")
        write.writerow(field.name for field in fields(Timing))
        write.writerows(astuple(timing) for timing in timings)


def print_table(table: Sequence[Row], caption: str) -> None:
    """The table in the terminal, without its quartiles."""
    shown = Table(caption=caption.replace("; quartiles in brackets", ", medians"))
    for number, heading in enumerate(BRIEF):
        shown.add_column(heading, justify="right" if number else "left", no_wrap=bool(number))
    for row in table:
        shown.add_row(*map(escape, brief(row)))
    console.print(shown)


def run(options: Options) -> Path:
    """Measure, write and print; the run's folder.  Raises FileExistsError for a folder that exists."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    config = {**asdict(options), "peers": versions()}
    folder = RunFolder.create(options.folder, manifest(config, sys.argv)).path
    variants = {variant.name: variant for variant in options.variants}
    iterates, facts = try_all(list(variants.values()), options.setting, console)
    timings = time_all(options, iterates)
    write_rounds(folder / "rounds.csv", timings)
    asked = Asked(options.flops, options.deviation, options.memory)
    facts |= gather(list(iterates), options.setting, asked, console)
    table = rows(timings, list(variants), unit=PLAIN.name, facts=facts)
    notes = {v.name: peers[v.peer].note for v in iterates if v.peer and peers[v.peer].note}
    (folder / "table.csv").write_text(to_csv(table))
    (folder / "table.md").write_text(to_markdown(table, options.caption, notes))
    print_table(table, options.caption)
    write_charts(folder, table, variants)
    console.print(f"run folder: {folder}", soft_wrap=True)
    return folder


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(lambda: run(tyro.cli(Options, args=args, prog="python -m benchmarks.speed.run")))


if __name__ == "__main__":
    sys.exit(main())
