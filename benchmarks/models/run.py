"""Which engine takes which model, and at what cost: ``python -m benchmarks.models.run --help``."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console

import metaweight as mw
from benchmarks.command import exit_code
from benchmarks.models import language, vision
from benchmarks.models.answers import Answer, answer, problem_of
from benchmarks.models.cost import timings_of
from benchmarks.models.stand_in import import_timm
from benchmarks.models.table import Found, rounds_csv, to_csv, to_markdown
from benchmarks.models.zoo import Load
from benchmarks.speed.measure import Timing
from metaweight.cli.places import run_folder
from metaweight.core.atomic import whole_file
from metaweight.core.registry import did_you_mean
from metaweight.training.run_folder import RunFolder, manifest

console = Console()
MODELS: Mapping[str, Load] = {**language.MODELS, **vision.MODELS}
ENGINES = tuple(name for name in mw.engines.names() if name != "implicit")
"""``implicit`` answers another question."""
LIBRARIES = ("transformers", "peft", "timm")


@dataclass(frozen=True)
class Options:
    """Every engine on small random models of Hugging Face and timm: right or refused, and its cost.

    Writes table.md, table.csv, rounds.csv, manifest.json and a file for each model into a folder.
    """

    models: tuple[str, ...] = ()
    """Which models; none named: all."""
    engines: tuple[str, ...] = ENGINES
    """Which engines."""
    rounds: int = 7
    """Measured rounds; each takes every engine and schedule once.  0: no timing."""
    threads: int = 2
    """CPU threads of torch."""
    seed: int = 0
    out: str | None = None
    """Folder of this run; must not exist unless --resume. Default: runs/models-TIME."""
    resume: bool = False
    """Go on with the folder --out: models that it has are not run again."""

    def __post_init__(self) -> None:
        for kind, asked, known in (("model", self.models, MODELS), ("engine", self.engines, ENGINES)):
            for name in asked:
                if name not in known:
                    raise KeyError(f"unknown {kind} {name!r}.{did_you_mean(name, known)}")
        if self.threads < 1 or self.rounds < 0 or self.rounds == 1:
            raise ValueError(f"threads >= 1 and rounds 0 or >= 2, got {self.threads} and {self.rounds}")
        if self.resume and self.out is None:
            raise ValueError("--resume goes on with a folder: name it with --out")

    @property
    def names(self) -> tuple[str, ...]:
        """The models, in the order of the table."""
        return tuple(name for name in MODELS if not self.models or name in self.models)

    @property
    def caption(self) -> str:
        """What stands under the table."""
        return (
            "right or wrong, with the relative error of slopes and the student's gradient in float64 against "
            "central differences of the real optimizer (4 + 3 units); then plain steps, lookahead / online, "
            f"float32, batch 16 + 16, {self.threads} CPU threads, medians of {self.rounds} interleaved "
            "rounds."
        )


def found_about(name: str, options: Options) -> Found:
    """Everything about one model."""
    model = MODELS[name]()
    problem = problem_of(model, options.seed)
    answers = {engine: answer(problem, engine, options.seed) for engine in options.engines}
    timings: list[Timing] = []
    refused: dict[str, str] = {}
    if options.rounds:
        asked = [engine for engine in options.engines if answers[engine].kind in ("right", "wrong")]
        timings, refused = timings_of(model, asked, options.rounds, options.seed)
    parameters = sum(p.numel() for p in model.build("small").parameters() if p.requires_grad)
    return Found(name, model.described, parameters, problem.doubt, answers, timings, refused)


def read_found(path: Path) -> Found:
    """What ``found_about`` gave, from its file."""
    held = json.loads(path.read_text(encoding="utf-8"))
    held["answers"] = {engine: Answer(**one) for engine, one in held["answers"].items()}
    held["timings"] = [Timing(**one) for one in held["timings"]]
    return Found(**held)


def run(options: Options) -> Path:
    """Measure, write and print; the run's folder.

    Raises FileExistsError for a folder that exists, ValueError where one to go on with was run otherwise.
    """
    torch.set_num_threads(options.threads)
    folder = _folder(options)
    for name in options.names:
        path = folder / f"{name}.json"
        if path.exists():
            continue
        console.print(f"{name} ...", end=" ")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other libraries' advice about their models
            found = found_about(name, options)
        with whole_file(path) as file:
            file.write(json.dumps(asdict(found)).encode())
        console.print(", ".join(f"{engine} {one.kind}" for engine, one in found.answers.items()))
    every = [read_found(folder / f"{name}.json") for name in MODELS if (folder / f"{name}.json").exists()]
    (folder / "table.md").write_text(to_markdown(every, options.engines, options.caption))
    (folder / "table.csv").write_text(to_csv(every, options.engines))
    (folder / "rounds.csv").write_text(rounds_csv(every))
    console.print(f"run folder: {folder}", soft_wrap=True)
    return folder


def _folder(options: Options) -> Path:
    held = manifest({**asdict(options), **versions()}, sys.argv)
    path = run_folder(options.out, "models")
    if not (options.resume and path.exists()):
        return RunFolder.create(path, held).path
    folder = RunFolder.open(path)
    before = folder.manifest()["config"]
    for option in ("engines", "rounds", "threads", "seed"):
        now = json.loads(json.dumps(held["config"][option]))
        if before[option] != now:
            raise ValueError(
                f"{path} was run with {option} {before[option]}, got {now}: go on with the same, or without "
                "--resume in another folder"
            )
    folder.write_manifest(held)
    return path


def versions() -> dict[str, Any]:
    torchvision = import_timm()[1] if find_spec("timm") else "not needed"
    return {**{name: _version(name) for name in LIBRARIES}, "torchvision": torchvision}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(
        lambda: run(tyro.cli(Options, args=args, prog="python -m benchmarks.models.run")), ModuleNotFoundError
    )


if __name__ == "__main__":
    sys.exit(main())
