"""Folders of runs and grids that were never trained, for tests of what reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from metaweight.comparison.cells import Cell
from metaweight.comparison.grid import Grid
from metaweight.tasks.config import ImageConfig, TranslationConfig
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
) -> Grid:
    """A grid whose accuracy is 80 + 5 * arm + seed; cells named in the last options did not finish."""
    known = {"uniform", "mw-net", "attention"}
    overrides = {arm: {"teacher": "mlp"} for arm in arms if arm not in known}
    grid = Grid(base, tuple(arms), tuple(noises), tuple(seeds), overrides)
    RunFolder.create(path, {"task": base.task, "config": asdict(grid), "command": ["metaweight", "compare"]})
    errors = []
    for cell in grid.cells():
        if cell.name in missing:
            continue
        place = path / "cells" / cell.name
        folder = RunFolder.create(place, {"task": base.task, "config": asdict(cell.config)})
        if cell.name in (*unfinished, *failed):
            for step in range(1, 5):
                folder.append_step({"step": step, "epoch": 1 + step // 3, "train_loss": 2.0 / step})
            folder.flush()
            errors += [f"{cell.name}\nRuntimeError: it broke\nTraceback"] if cell.name in failed else []
            continue
        write_result(cell, place, accuracy=80 + 5 * list(arms).index(cell.arm) + cell.config.seed)
        save_samples(folder, samples, epochs=base.epochs, flat=cell.arm == "uniform")
    if errors:
        (path / "failures.txt").write_text("\n\n".join(errors))
    return grid


def write_result(cell: Cell, place: Path, *, accuracy: float) -> None:
    """result.json as a cell writes it."""
    epochs = [
        {
            "epoch": e,
            "step": 3 * e,
            "seconds": 1.0 * e,
            "train_loss": 2 / e,
            "test_accuracy": accuracy - 3 + e,
        }
        for e in range(1, cell.config.epochs + 1)
    ]
    main = {"accuracy": accuracy} if cell.config.task == "image" else {"bleu": accuracy}
    content = {
        **{"teacher": cell.arm, "noise": cell.noise, "seed": cell.config.seed},
        **main,
        **{"auroc": 0.9, "seconds": 3.0, "cost": 1.0 + 0.5 * len(cell.arm), "extra": {}},
        **{"history": epochs, "warnings": []},
    }
    if cell.config.teacher == "attention":
        shares = [[0.0, 0.0], *([[0.25, 0.75]] * (cell.config.epochs - 1))]
        content |= {"layers": ["block2", "block3"], "attention": shares}
    (place / "result.json").write_text(json.dumps(content))


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
