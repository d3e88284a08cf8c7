"""Folders of runs and grids that were never trained, for tests of what reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from metaweight.comparison.cells import Cell, planned
from metaweight.comparison.grid import Grid
from metaweight.comparison.records import Failure, GridPlan, write_failures, write_grid_plan
from metaweight.core.records import write_record
from metaweight.tasks.config import ImageConfig, TranslationConfig
from metaweight.tasks.outcome import RunResult
from metaweight.teachers.base import registry as teachers
from metaweight.training.fates import Fates
from metaweight.training.run_folder import RunFolder

BASE = ImageConfig(epochs=3, warmup_epochs=1, teacher="uniform")


def make_grid(
    path: Path,
    arms: Sequence[str] = ("uniform", "mw-net", "attention"),
    *,
    noises: Sequence[str] = ("uniform@0.4",),
    seeds: Sequence[int] = (0, 1),
    samples: int = 60,
    base: ImageConfig | TranslationConfig = BASE,
    unfinished: Sequence[str] = (),
    failed: Sequence[str] = (),
    missing: Sequence[str] = (),
    error: str = "it broke",
) -> Grid:
    """A grid whose accuracy is 80 + 5 * arm + seed; cells named in the last options did not finish."""
    overrides = {arm: {"teacher": "mlp"} for arm in arms if arm not in teachers}
    grid = Grid(base, tuple(arms), tuple(noises), tuple(seeds), overrides)
    RunFolder.create(path, {"task": base.task, "config": asdict(grid), "command": ["metaweight", "compare"]})
    add_plan(path, grid)
    failures = []
    for cell in grid.cells():
        if cell.name in missing:
            continue
        place = path / "cells" / cell.name
        folder = RunFolder.create(place, {"task": base.task, "config": asdict(cell.config)})
        if cell.name in (*unfinished, *failed):
            for step in range(1, 5):
                folder.append_step({"step": step, "epoch": 1 + step // 3, "train_loss": 2.0 / step})
            folder.flush()
            failures += [Failure(cell.name, f"RuntimeError: {error}", "Trace")] if cell.name in failed else []
            continue
        write_result(cell, place, accuracy=80 + 5 * list(arms).index(cell.arm) + cell.config.seed)
        save_samples(folder, samples, epochs=base.epochs, flat=cell.arm == "uniform")
    write_failures(path, [cell.name for cell in grid.cells()], failures)
    return grid


def add_plan(path: Path, grid: Grid) -> None:
    """What a start of a grid writes first."""
    runs = tuple(map(planned, grid.cells()))
    write_grid_plan(path, GridPlan(task=grid.base.task, data=grid.base.data, runs=runs))


def write_result(cell: Cell, place: Path, *, accuracy: float) -> None:
    """result.json as a cell writes it."""
    epochs = range(1, cell.config.epochs + 1)
    attends = cell.config.teacher == "attention"
    main = {"accuracy": accuracy} if cell.config.task == "image" else {"bleu": accuracy}
    result = RunResult(
        cell.arm,
        cell.noise,
        cell.config.seed,
        {**main, "auroc": 0.9, "seconds": 3.0, "cost": 1.0 + 0.5 * len(cell.arm)},
        history=tuple(
            {
                "epoch": e,
                "step": 3 * e,
                "seconds": 1.0 * e,
                "train_loss": 2 / e,
                "test_accuracy": accuracy - 3 + e,
            }
            for e in epochs
        ),
        layers=("block2", "block3") if attends else (),
        attention=((0.0, 0.0), *((0.25, 0.75) for _ in epochs[1:])) if attends else (),
        fates=Fates(0.5, 0.25, 0.75, None) if cell.config.task == "image" else None,
    )
    write_record(place / "result.json", result)


def save_samples(folder: RunFolder, samples: int, *, epochs: int, flat: bool = False, seed: int = 0) -> None:
    """Weights in [0, 2], small for the flipped third; sample 0 is not seen in the first epoch."""
    generator = torch.Generator().manual_seed(seed)
    flipped = torch.arange(samples) % 3 == 0
    weights = torch.rand(epochs, samples, generator=generator) + (~flipped).float()
    weights = torch.ones(epochs, samples) if flat else weights
    weights[0, 0] = math.nan
    folder.save_weights(
        index=torch.arange(samples),
        weights=weights,
        loss=3 * torch.rand(epochs, samples, generator=generator),
        given=torch.arange(samples) % 10,
        clean=(torch.arange(samples) + flipped) % 10,
        flipped=flipped,
        probabilities=torch.rand(samples, 10, generator=generator),
    )
