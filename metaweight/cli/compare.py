"""``metaweight compare``: a grid of runs and its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes, Suppress

from metaweight.cli.places import run_folder
from metaweight.comparison.grid import Grid
from metaweight.comparison.grid_file import LISTED, Plan
from metaweight.comparison.suite import compare
from metaweight.comparison.tuning import Tuning
from metaweight.core.atomic import WriteError
from metaweight.core.console import Terminal
from metaweight.core.launched import started_as
from metaweight.report.publication import publish
from metaweight.tasks import tasks
from metaweight.tasks.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Arms, kinds of noise and seeds; a call trains them all, prints and keeps the table."""

    task: str
    """What the student learns; each task has its own options: image, tabular, text, tokens, translation."""
    run: OmitArgPrefixes[RunConfig]
    grid: str | None = None
    """A TOML file with arms, noises, seeds, jobs, [run], [arm.NAME], [noise.KIND] and [tune], or with a table
    of them for each profile; other options go over what it says."""
    profile: str | None = None
    """The table of the file --grid, where it has several."""
    arms: tuple[str, ...] = ("uniform", "knn", "l2rw", "mw-net", "surface", "mlp", "attention", "memory")
    """Teachers, remedies and losses, as `metaweight teachers` and `metaweight remedies` list them."""
    noises: tuple[str, ...]
    """Kinds of noise, as KIND or KIND@RATE."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds; every arm gets the same ones."""
    jobs: int = 2
    """Runs side by side; CPU threads are shared out. With --devices: as many as these are."""
    devices: tuple[str, ...] = ()
    """Devices that the runs are spread over, a run on each at a time, one named twice has two: cuda:0 cuda:1.
    Default: --device for all. A comparison starts its processes itself, so it is not for torchrun."""
    out: str | None = None
    """Folder of the comparison; must not exist, without --resume. Default: runs/compare-TIME, with the
    names of file and profile in it."""
    resume: bool = False
    """Go on in the folder --out: finished runs are kept, stopped ones go on."""

    overrides: Suppress[Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    noise_overrides: Suppress[Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    tuning: Suppress[Tuning | None] = None

    @classmethod
    def of(cls, plan: Plan, grid: str, profile: str | None = None) -> Compare:
        """The command as the file ``grid``, which holds ``plan``, asks for it."""
        wanted_grid = plan.grid
        return cls(
            task=plan.task,
            run=wanted_grid.base,
            grid=grid,
            profile=profile,
            arms=wanted_grid.arms,
            noises=wanted_grid.noises,
            seeds=wanted_grid.seeds,
            jobs=cls.jobs if plan.jobs is None else plan.jobs,
            overrides=wanted_grid.overrides,
            noise_overrides=wanted_grid.noise_overrides,
            tuning=plan.tuning,
        )

    def __call__(self) -> None:
        self._check_places()
        if self.profile is not None and self.grid is None:
            raise ValueError(f"--profile {self.profile} is a table of a grid file: name the file with --grid")
        default = tasks[self.task].config()
        for option, instead in LISTED.items():
            value = getattr(self.run, option)
            if value != getattr(default, option):
                raise ValueError(
                    f"--{option} {value} would change nothing here: a comparison takes --{instead}"
                )
        grid = Grid(self.run, self.arms, self.noises, self.seeds, self.overrides, self.noise_overrides)
        name = "-".join(filter(None, ["compare", self.grid and Path(self.grid).stem, self.profile]))
        folder = run_folder(self.out, name, resume=self.resume)
        try:
            compared = compare(
                grid,
                folder,
                jobs=self.jobs,
                devices=[name for word in self.devices for name in word.split(",") if name],
                console=Terminal(),
                resume=self.resume,
                tuning=self.tuning,
            )
        except WriteError as error:
            raise WriteError(
                f"{error}\nthe same command with --resume --out {folder} goes on: every run is kept up to "
                "its last checkpoint"
            ) from error
        try:
            publish(compared.folder, Terminal())
        except OSError as error:
            raise WriteError(
                f"{error}\nevery run is kept: metaweight report {folder} writes tables and page anew"
            ) from error
        compared.require_all()

    def _check_places(self) -> None:
        """Raise ValueError where it is said twice what the runs are trained on, or by whom."""
        _, processes = started_as()
        if processes > 1:
            raise ValueError(
                f"{processes} processes were started, and a comparison starts its own: leave torchrun out, "
                "and give --jobs for runs side by side, or --devices"
            )
        if self.devices and self.run.device != tasks[self.task].config().device:
            raise ValueError(
                f"--device {self.run.device} is one for all runs, --devices are those that they are spread "
                "over: give one of the two"
            )
