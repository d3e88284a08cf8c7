"""What an iteration costs by length, vocabulary and batch: ``python -m benchmarks.models.sizes --help``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import tyro
from rich.console import Console

from benchmarks.command import exit_code
from benchmarks.models.run import versions
from benchmarks.models.sized import MODELS, Size, Sized
from benchmarks.speed.measure import beside_plain, memory_in_fresh_process
from benchmarks.speed.variants import PLAIN, Setting, Variant
from metaweight.cli.places import run_folder
from metaweight.core.markdown import markdown_table
from metaweight.core.registry import did_you_mean
from metaweight.training.run_folder import RunFolder, manifest

console = Console()
SCHEDULES = ("online", "lookahead")
VARIANTS = tuple(Variant("auto", schedule) for schedule in SCHEDULES)
BATCH = 16
HEADINGS = (
    "model",
    "units x length, vocabulary",
    "plain step, ms",
    "online",
    "lookahead",
    "memory of plain, MB",
    "online",
    "lookahead",
)


@dataclass(frozen=True)
class Options:
    """Time and memory of an iteration of `auto` on five models of Hugging Face, in plain steps.

    Writes table.md and manifest.json into a new folder.
    """

    models: tuple[str, ...] = tuple(MODELS)
    """Which models."""
    rounds: int = 7
    """Measured rounds; each takes every variant once."""
    width: int = 256
    """Of the models, which have two layers (T5 twice two)."""
    threads: int = 1
    """CPU threads of torch."""
    memory: bool = True
    """Measure memory too, each variant in a fresh process."""
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/sizes-TIME."""

    def __post_init__(self) -> None:
        for name in self.models:
            if name not in MODELS:
                raise KeyError(f"unknown model {name!r}.{did_you_mean(name, MODELS)}")
        if self.rounds < 2 or self.threads < 1 or self.width < 8:
            raise ValueError("--rounds is at least 2, --threads 1, --width 8")


def settings(options: Options) -> Iterator[tuple[Sized, int]]:
    """Each model in its usual size, then with longer sentences, more words and a larger batch."""
    for name in options.models:
        pictures = name == "vit"
        usual = Size(length=36 if pictures else 32, width=options.width)
        sizes = [(usual, BATCH), (replace(usual, length=144 if pictures else 128), BATCH)]
        if not pictures:
            sizes.append((replace(usual, vocabulary=32000), BATCH))
        for size, batch in (*sizes, (usual, 4 * BATCH)):
            yield Sized(name, size), batch


def measured(model: Sized, batch: int, options: Options) -> tuple[str, ...]:
    """A row of the table."""
    setting = Setting(model.name, batch, batch, options.threads)
    plain, ratios = beside_plain(VARIANTS, setting, options.rounds)
    memory = [""] * (1 + len(VARIANTS))
    if options.memory:
        peaks = [memory_in_fresh_process(each, setting) for each in (PLAIN, *VARIANTS)]
        memory = [f"{peaks[0] / 1e6:.0f}", *(f"{peak / peaks[0]:.2f}" for peak in peaks[1:])]
    size = f"{batch} x {model.size.length}"
    if model.model != "vit":
        size += f", {model.size.vocabulary:,}"
    return model.model, size, plain, *ratios, *memory


def run(options: Options) -> Path:
    """Measure, write and print; the run's folder.  Raises FileExistsError for a folder that exists."""
    torch.set_num_threads(options.threads)
    held = manifest({**asdict(options), **versions()}, sys.argv)
    folder = RunFolder.create(run_folder(options.out, "sizes"), held).path
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' advice about its models
        for model, batch in settings(options):
            console.print(f"{model.name}, batch {batch} ...")
            rows.append(measured(model, batch, options))
    text = (
        f"{markdown_table(HEADINGS, rows, left=2)}\n\n"
        f"Models of width {options.width} and two layers (T5: and two of the decoder), dropout and attention "
        "as they come, AdamW, float32, as many units in the meta batch as in the train batch; engine auto. "
        f"Time in plain steps: medians and quartiles of {options.rounds} interleaved rounds, "
        f"{options.threads} CPU threads. Memory: what an iteration takes at its peak, in a fresh process, in "
        "that of a plain step. No iteration here checks itself against reverse mode, as the first ones of a "
        "run and each hundredth do.\n"
    )
    (folder / "table.md").write_text(text)
    console.print(text, markup=False, soft_wrap=True)
    return folder


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(lambda: run(tyro.cli(Options, args=args, prog="python -m benchmarks.models.sizes")))


if __name__ == "__main__":
    sys.exit(main())
