"""``metaweight train``: one run."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass

import torch
from rich.table import Column, Table
from tyro.conf import OmitArgPrefixes

from metaweight import remedies
from metaweight.cli.places import run_folder
from metaweight.comparison.arms import arm_of
from metaweight.comparison.cells import alone, keep
from metaweight.core.console import Terminal
from metaweight.student.execution.execution import require_device
from metaweight.tasks import Prepared, assemble, cost_line, described, require_kept, tasks
from metaweight.tasks.config import RunConfig, config_from
from metaweight.training.history import Interrupted
from metaweight.training.progress import EpochProgress
from metaweight.training.run_folder import RunFolder, manifest


@dataclass(frozen=True, kw_only=True)
class Train:
    """One run; a call trains it and keeps the weight of every sample."""

    task: str
    """What the student learns; each task has its own options: image, translation."""
    run: OmitArgPrefixes[RunConfig]
    out: str | None = None
    """Folder of this run; must not exist. Default: runs/NAME-TIME, NAME of teacher, remedy, loss."""
    resume: str | None = None
    """Go on with this run folder, with its own options; no other option may be given."""
    threads: int | None = None
    """CPU threads; default: torch's choice."""

    def __call__(self) -> None:
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        console = Terminal()
        folder, config, prepared = self._begin() if self.resume is None else self._reopen(self.resume)
        presentation = tasks[config.task].presentation
        console.print(f"data: {described(prepared)}", soft_wrap=True)
        console.print(f"run folder: {folder.path}", soft_wrap=True)
        if (line := cost_line(config, prepared)) is not None:
            console.print(line, soft_wrap=True)
        try:
            with EpochProgress(
                console, config.epochs, describe=presentation.of_epoch, counted=presentation.counted
            ) as display:
                outcome = remedies.run(
                    config, folder, prepared=prepared, callbacks=(display,), resume=self.resume is not None
                )
        except Interrupted as error:
            raise Interrupted(f"{error}\nresume with: metaweight train --resume {folder.path}") from None
        result = keep(alone(config, folder.path.name), folder.path, outcome, cost=outcome.cost)
        table = Table(Column(overflow="fold"), Column(overflow="fold"), show_header=False)
        for what, figure in presentation.of_run(result):
            table.add_row(what, figure)
        console.print(table)
        console.print(f"weight of every sample: {folder.path / 'weights.csv'}", soft_wrap=True)
        if (folder.path / "pairs.csv").is_file():
            console.print(f"with its sentences: {folder.path / 'pairs.csv'}", soft_wrap=True)

    def _begin(self) -> tuple[RunFolder, RunConfig, Prepared]:
        config = self.run
        require_device(config.device)
        # a bad option or data folder leaves no run folder behind
        prepared = tasks[config.task].prepare(config)
        assemble(config, prepared)
        remedies.check(config, prepared)
        about = {"task": config.task} | manifest(asdict(config), sys.argv)
        about |= {"data": described(prepared)}
        place = run_folder(self.out, arm_of(config).replace(" + ", "-"))
        return RunFolder.create(place, about), config, prepared

    def _reopen(self, path: str) -> tuple[RunFolder, RunConfig, Prepared]:
        if self.run != tasks[self.task].config() or self.out is not None:
            raise ValueError("--resume takes the run's own options: give no others")
        folder = RunFolder.open(path)
        about = folder.manifest()
        task = tasks[about.get("task", "image")]  # the first runs were all of images and do not say so
        config = config_from(task.config, about["config"])
        require_device(config.device)
        prepared = task.prepare(config)
        require_kept(task, prepared, folder)
        return folder, config, prepared
