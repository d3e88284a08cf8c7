"""The command line: metaweight train | compare | teachers | engines."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import OmitArgPrefixes

from metaweight import __version__, engines, experiment, teachers
from metaweight.compare import Grid
from metaweight.config import ImageConfig, config_from
from metaweight.contracts import CollapseWarning, MetaweightError
from metaweight.preparation import prepare
from metaweight.progress import EpochProgress
from metaweight.report.record import RunFolder, manifest
from metaweight.suite import compare
from metaweight.trainer import Interrupted

console = Console()
USER_ERRORS = (MetaweightError, ValueError, KeyError, TypeError, OSError, ImportError)


def new_folder(out: str | None, name: str) -> Path:
    """``out``, or runs/NAME-TIME."""
    return Path(out) if out else Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


@dataclass(frozen=True)
class Train:
    """Train one student with one teacher and keep the weight of every sample.

    Example: metaweight train --noise uniform --noise-rate 0.4 --teacher memory
    """

    run: OmitArgPrefixes[ImageConfig] = field(default_factory=ImageConfig)
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/TEACHER-TIME."""
    resume: str | None = None
    """Go on with this run folder, with its own options; no other option may be given."""
    threads: int | None = None
    """CPU threads; default: torch's choice."""

    def __call__(self) -> None:
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.resume is not None:
            if self.run != ImageConfig() or self.out is not None:
                raise ValueError("--resume takes the run's own options: give no others")
            folder = RunFolder.open(self.resume)
            config = config_from(folder.manifest()["config"])
            prepared = prepare(config)
        else:
            config = self.run
            prepared = prepare(config)  # a bad option or data folder leaves no run folder behind
            experiment.assemble(config, prepared)
            folder = RunFolder.create(
                new_folder(self.out, config.teacher), manifest(asdict(config), sys.argv)
            )
        console.print(f"run folder: {folder.path}", soft_wrap=True)
        try:
            with EpochProgress(console, config.epochs) as shown:
                result = experiment.run(
                    config, folder, prepared=prepared, callbacks=(shown,), resume=self.resume is not None
                )
        except Interrupted as error:
            raise Interrupted(f"{error}\nresume with: metaweight train --resume {folder.path}") from None
        table = Table("", "", show_header=False)
        table.add_row("test accuracy, last epoch", f"{result.accuracy:.2f} %")
        table.add_row("test accuracy, best epoch on validation", f"{result.accuracy_at_best:.2f} %")
        table.add_row("wrong labels in the training set", f"{result.realised_noise:.1%}")
        table.add_row("AUROC of the weights for finding them", f"{result.auroc:.3f}")
        table.add_row("mean weight", f"{result.weight_mean:.2f}")
        console.print(table)
        console.print(f"weight of every sample: {folder.path / 'weights.csv'}", soft_wrap=True)


@dataclass(frozen=True)
class Compare:
    """Train every teacher under every kind of noise with every seed; print and keep the table.

    Example: metaweight compare --teachers uniform mw-net memory --noises uniform@0.4 cluster@0.8
    """

    run: OmitArgPrefixes[ImageConfig] = field(default_factory=ImageConfig)
    teachers: tuple[str, ...] = ("uniform", "knn", "l2rw", "mw-net", "surface", "mlp", "attention", "memory")
    """Teachers, as `metaweight teachers` lists them."""
    noises: tuple[str, ...] = ("uniform@0.4", "cluster@0.8")
    """Kinds of noise, as KIND or KIND@RATE."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds; every teacher gets the same ones."""
    jobs: int = 2
    """Runs side by side; CPU threads are shared out."""
    out: str | None = None
    """Folder of the comparison; must not exist. Default: runs/compare-TIME."""

    def __call__(self) -> None:
        grid = Grid(self.run, self.teachers, self.noises, self.seeds)
        compare(grid, new_folder(self.out, "compare"), jobs=self.jobs, console=console)


@dataclass(frozen=True)
class Teachers:
    """List the teachers, plug-ins included, with their options."""

    def __call__(self) -> None:
        table = Table("teacher", "what it does", "options (default)")
        for name in teachers.names():
            chosen = ", ".join(f"{k}={v}" for k, v in teachers.options(name).items())
            table.add_row(name, _summary(teachers.registry[name]), chosen or "-")
        console.print(table)


@dataclass(frozen=True)
class Engines:
    """List the engines that compute the meta-gradient."""

    def __call__(self) -> None:
        table = Table("engine", "what it does", "inner steps (K)")
        for name in engines.names():
            engine = engines.build_engine(name)
            table.add_row(
                name, engine.summary, "any" if engine.max_unroll is None else str(engine.max_unroll)
            )
        console.print(table)


def _summary(part: object) -> str:
    return (inspect.getdoc(part) or "").split("\n\n")[0].replace("\n", " ")


COMMANDS: dict[str, Any] = {"train": Train, "compare": Compare, "teachers": Teachers, "engines": Engines}


def main(args: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it did its work, 2 for a user's mistake, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if args is None else args)
    if arguments == ["--version"]:
        print(__version__)
        return 0
    command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="metaweight",
        description=(
            "Learn a weight for every training sample from a small trusted set. "
            "METAWEIGHT_TRACEBACK=1 shows where an error came from."
        ),
        args=arguments or ["--help"],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("once", CollapseWarning)
        try:
            command()
        except (Interrupted, KeyboardInterrupt) as stop:
            console.print(str(stop) or "stopped", style="yellow", highlight=False, soft_wrap=True)
            return 130
        except USER_ERRORS as error:
            if os.environ.get("METAWEIGHT_TRACEBACK"):
                raise
            text = error.args[0] if isinstance(error, KeyError) and error.args else error
            Console(stderr=True).print(
                f"metaweight: {text}", style="red", highlight=False, markup=False, soft_wrap=True
            )
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
