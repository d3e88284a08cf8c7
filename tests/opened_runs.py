"""Finished image runs of a moment in folders, to be opened again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_images import config

from metaweight import tasks
from metaweight.influence import WholeRun
from metaweight.tasks.config import RunConfig
from metaweight.training import checkpoint
from metaweight.training.callbacks import Callback
from metaweight.training.run_folder import RunFolder

OPTIONS: dict[str, Any] = {
    "noise": "uniform",
    "epochs": 3,
    "max_norm": 1.0,
    "lr": 0.1,
    "lr_schedule": "cosine",
}
TEACHERS: dict[str, dict[str, Any]] = {
    "plain": {"teacher": "uniform"},
    "mlp": {"teacher": "mlp", "engine": "double", "warmup_epochs": 1},
    "mw-net": {"teacher": "mw-net", "every": 2},
}


def trained(path: Path, own: RunConfig, *callbacks: Callback) -> Path:
    """The folder of a run."""
    prepared = tasks.tasks[own.task].prepare(own)
    folder = RunFolder.create(path, tasks.run_manifest(own, prepared))
    tasks.run(own, folder, prepared=prepared, callbacks=callbacks)
    return path


def finished(path: Path, name: str) -> Path:
    """The folder of one of ``TEACHERS``: nine steps."""
    return trained(path, config(**OPTIONS, **TEACHERS[name]))


def same_student(run: WholeRun, folder: Path) -> bool:
    """Whether the run's student is that of the folder's checkpoint."""
    there = checkpoint.load(folder / "checkpoint.pt", {}, part="none")["reweighter"]["student"]
    return all(torch.equal(v, there[name]) for name, v in run.student.module.state_dict().items())
