"""Does a teacher train a language model past junk? ``python -m benchmarks.lm.run --help``."""

from __future__ import annotations

import csv
import io
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from importlib.metadata import version
from pathlib import Path

import torch
import tyro
from rich.console import Console

import metaweight as mw
from benchmarks.command import exit_code
from benchmarks.lm.arms import FIXED, Result, Training, trained
from benchmarks.lm.texts import DOMAINS, NOISE, Sizes, texts
from metaweight.cli.places import run_folder
from metaweight.core.atomic import whole_file
from metaweight.core.registry import did_you_mean
from metaweight.core.weights import mean_and_spread
from metaweight.data.folder import VARIABLE, data_folder
from metaweight.training.run_folder import RunFolder, manifest

console = Console()


@dataclass(frozen=True)
class Options:
    """A small language model of bytes on text of which a share is junk; its loss on clean text.

    Writes table.md, runs.csv and manifest.json into a folder.
    """

    domain: str = "fiction"
    """What is to be learnt: fiction, technical or wiki."""
    junk: tuple[str, ...] = ("technical", NOISE)
    """Kinds of junk: another domain, or noise: the domain's own text with 40 % of its bytes replaced."""
    share: float = 0.4
    """Of junk among the training windows."""
    arms: tuple[str, ...] = (*FIXED, "surface")
    """plain, random and oracle weights, and teachers by their names."""
    seeds: tuple[int, ...] = (0, 1, 2)
    train: int = 2000
    """Training windows."""
    trusted: int = 100
    """Clean windows that the teacher learns from."""
    test: int = 500
    """Clean windows that nobody trains on."""
    length: int = 64
    """Bytes of a window."""
    epochs: int = 4
    batch: int = 32
    lr: float = 4e-3
    teacher_lr: float = 1e-2
    width: int = 64
    layers: int = 2
    threads: int = 2
    """CPU threads of torch."""
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/lm-TIME."""

    def __post_init__(self) -> None:
        known = {"arm": (*FIXED, *mw.teachers.names()), "kind of junk": (*DOMAINS, NOISE), "domain": DOMAINS}
        asked = {"arm": self.arms, "kind of junk": self.junk, "domain": (self.domain,)}
        for kind, names in asked.items():
            for name in names:
                if name not in known[kind]:
                    raise KeyError(f"unknown {kind} {name!r}.{did_you_mean(name, known[kind])}")
        if self.domain in self.junk:
            raise ValueError(f"text of {self.domain!r} is no junk where it is to be learnt: name another")
        if not 0 < self.share < 1:
            raise ValueError(f"share lies between 0 and 1, got {self.share}")


def run(options: Options) -> Path:
    """Train, write and print; the run's folder.

    Raises FileExistsError for a folder that exists, ValueError where the texts are not there.
    """
    data = data_folder(None)
    if data is None:
        raise ValueError(f"the texts are not part of the project: name their folder with {VARIABLE}")
    torch.set_num_threads(options.threads)
    path = run_folder(options.out, "lm")
    versions = {name: version(name) for name in ("transformers", "accelerate")}
    folder = RunFolder.create(path, manifest({**asdict(options), **versions}, sys.argv)).path
    sizes = Sizes(options.train, options.trusted, options.test, options.length, options.share)
    training = Training(
        options.epochs, options.batch, options.lr, options.teacher_lr, options.width, options.layers
    )
    results = []
    for seed in options.seeds:
        for junk in options.junk:
            held = texts(options.domain, junk, sizes, seed, data)
            for arm in options.arms:
                place = folder / "cells" / f"{junk}-{arm}-{seed}"
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # another library's advice about its loaders
                    results.append(trained(arm, junk, held, training, seed, place))
                console.print(f"{junk}, {arm}, seed {seed}: {results[-1].bits:.3f} bits", highlight=False)
    for name, text in (("runs.csv", runs_csv(results)), ("table.md", to_markdown(results, options))):
        with whole_file(folder / name) as file:
            file.write(text.encode())
    console.print(f"run folder: {folder}", soft_wrap=True)
    return folder


def runs_csv(results: Sequence[Result]) -> str:
    """A row a run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Result)])
    writer.writerows(astuple(one) for one in results)
    return text.getvalue()


def to_markdown(results: Sequence[Result], options: Options) -> str:
    """A row an arm: bits per byte of clean text and AUROC for each kind of junk, seconds of training."""
    headings = [f"{junk}: {what}" for junk in options.junk for what in ("bits", "AUROC")]
    lines = [f"| arm | {' | '.join(headings)} | seconds |", "| --- |" + " ---: |" * (len(headings) + 1)]
    for arm in options.arms:
        cells = []
        for junk in options.junk:
            own = [one for one in results if (one.arm, one.junk) == (arm, junk)]
            cells.append(spread([one.bits for one in own], 3))
            found = [one.auroc for one in own if one.auroc is not None]
            cells.append(spread(found, 2) if found else "")
        cells.append(spread([one.seconds for one in results if one.arm == arm], 0))
        lines.append(f"| `{arm}` | {' | '.join(cells)} |")
    about = (
        f"Bits per byte of clean {options.domain} (less is better) after training on {options.train:,} "
        f"windows of {options.length} bytes, {options.share:.0%} of them junk; mean ± standard deviation "
        f"over {len(options.seeds)} seeds, of seconds over junk too. AUROC: clean windows' mean weights "
        "above junk's."
    )
    return "\n".join([*lines, "", about, ""])


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation; of one value itself."""
    mean, deviation = mean_and_spread(values)
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}" if len(values) > 1 else f"{mean:.{digits}f}"


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(
        lambda: run(tyro.cli(Options, args=args, prog="python -m benchmarks.lm.run")), ModuleNotFoundError
    )


if __name__ == "__main__":
    sys.exit(main())
