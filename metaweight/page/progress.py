"""How far a run without result.json came, from its checkpoint or its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from metaweight import checkpoint
from metaweight.checkpoint import CheckpointError
from metaweight.config import RunConfig
from metaweight.metrics.translation import score
from metaweight.metrics.weights import auroc
from metaweight.registry import Registry
from metaweight.report.record import RunFolder

Epochs = Sequence[Mapping[str, float | None]]
Figures = dict[str, float | None]


@dataclass(frozen=True)
class RunProgress:
    """The epochs that are done."""

    epochs: Epochs = ()
    layers: tuple[str, ...] = ()
    attention: tuple[tuple[float, ...], ...] = ()


def progress_of(folder: Path) -> tuple[RunProgress, list[str]]:
    """Of the run in ``folder``, and what could not be read; nothing where there is no run."""
    if not folder.is_dir():
        return RunProgress(), []
    if (folder / "checkpoint.pt").is_file():
        try:
            # the student's own tensors are of no interest here, so no shape has to fit
            return _from_checkpoint(checkpoint.load(folder / "checkpoint.pt", {}, part="history")), []
        except (CheckpointError, KeyError, TypeError) as error:
            return _from_steps(folder, [f"The checkpoint of {folder.name} cannot be read: {error}."])
    return _from_steps(folder, [])


def _from_checkpoint(state: Mapping[str, Any]) -> RunProgress:
    kept = [part for part in state["callbacks"] if "layers" in part and "shares" in part]
    layers, shares = (kept[0]["layers"], kept[0]["shares"]) if kept else ((), ())
    return RunProgress(tuple(state["history"]["epochs"]), tuple(layers), tuple(map(tuple, shares)))


def _from_steps(folder: Path, notes: list[str]) -> tuple[RunProgress, list[str]]:
    """The mean train loss of each epoch that steps.jsonl has."""
    try:
        rows = RunFolder(folder).read_steps()
    except ValueError as error:
        return RunProgress(), [*notes, f"The steps of {folder.name} cannot be read: {error}."]
    epochs: dict[int, list[float]] = {}
    for row in rows:
        loss = row.get("train_loss")
        epochs.setdefault(int(row["epoch"]), []).append(math.nan if loss is None else loss)
    return RunProgress(tuple({"epoch": e, "train_loss": fmean(v)} for e, v in epochs.items())), notes


conclusions: Registry[Callable[[Path, Mapping[str, float | None]], Figures]] = Registry("task")
"""Task -> the main figures of a finished run of `metaweight train`, from its folder and its last epoch."""


@conclusions.register("image")
def _image(_folder: Path, last: Mapping[str, float | None]) -> Figures:
    return {"accuracy": last.get("test_accuracy")}


@conclusions.register("translation")
def _translation(folder: Path, _last: Mapping[str, float | None]) -> Figures:
    names = ("hypothesis.txt", "reference.txt")
    if not all((folder / name).is_file() for name in names):
        return {}
    texts = [(folder / name).read_text(encoding="utf-8").split("\n")[:-1] for name in names]
    scores = score(*texts)
    return {"bleu": scores.bleu, "chrf": scores.chrf}


def concluded(config: RunConfig, folder: Path, epochs: Epochs) -> Figures:
    """The figures of a finished run that has no result.json; None where one is undefined."""
    last = epochs[-1] if epochs else {}
    figures = conclusions[config.task](folder, last) if config.task in conclusions else {}
    samples = RunFolder(folder).read_weights()
    means = samples.mean_weight()
    seen = means.isfinite()
    if samples.flipped is not None and bool(seen.any()):
        figures["auroc"] = auroc(means[seen], samples.flipped[seen])
        figures["realised_noise"] = float(samples.flipped.double().mean())
    figures["seconds"] = last.get("seconds")
    figures["weight_mean"] = float(means[seen].mean()) if bool(seen.any()) else None
    return {n: v if v is not None and math.isfinite(v) else None for n, v in figures.items()}
