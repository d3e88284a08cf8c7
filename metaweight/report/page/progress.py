"""How far a run without result.json came, from its checkpoint or its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from metaweight.training import checkpoint
from metaweight.training.checkpoint import CheckpointError
from metaweight.training.run_folder import RunFolder

Epochs = Sequence[Mapping[str, float | None]]


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
    histories = [part for part in state["callbacks"] if "layers" in part and "shares" in part]
    layers, shares = (histories[0]["layers"], histories[0]["shares"]) if histories else ((), ())
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
