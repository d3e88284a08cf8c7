"""A finished run's folder: what was trained in it, and whether it can be taken again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaweight.core.contracts import MetaweightError
from metaweight.tasks.base import kept_config
from metaweight.tasks.config import RunConfig
from metaweight.training import checkpoint
from metaweight.training.run_folder import RunFolder


@dataclass(frozen=True)
class Finished:
    """What the folder of a finished run says of it."""

    path: Path
    about: Mapping[str, Any]
    """manifest.json."""
    config: RunConfig
    losses: list[float]
    """The mean loss of each step, before it."""
    epochs: int
    """That were trained: fewer than planned where the run stopped early."""
    student: Mapping[str, Any]
    """At the end, by name."""
    engine: Mapping[str, Any]
    """What later answers of the engine depended on, at the end."""
    elsewhere: tuple[str, ...]
    """What was another when the run went on, in words."""

    @staticmethod
    def read(path: Path | str) -> Finished:
        """Raises FileNotFoundError, ValueError or CheckpointError for no finished run; MetaweightError
        for one whose steps are not plain ones.
        """
        folder = RunFolder.open(path)
        about = folder.manifest()
        given = about.get("config")
        if not isinstance(given, dict):
            raise ValueError(f"{folder.path} is no run of metaweight train: its manifest has no config")
        if "base" in given:
            raise ValueError(f"{folder.path} is a comparison: name one of its runs{folder.example}")
        config = kept_config(about, folder.path / "manifest.json")
        later = [folder.manifest(name) for name in folder.later_manifests()]
        _refuse(folder.path, config, max(int(one.get("processes", 1)) for one in (about, *later)))
        state = checkpoint.load(folder.path / "checkpoint.pt", {}, part="none")
        epochs, position = state["position"]
        if position or (epochs < config.epochs and not state["history"]["stopped_early"]):
            raise ValueError(
                f"{folder.path} is not finished: {epochs} of its {config.epochs} epochs are trained; go on "
                f"with metaweight train --resume {folder.path}"
            )
        steps = state["reweighter"]["steps"]
        losses = _losses(folder, steps)
        own = state["reweighter"]
        return Finished(
            folder.path,
            about,
            config,
            losses,
            epochs,
            own["student"],
            own.get("engine", {}),
            tuple(_elsewhere(about, later)),
        )

    @property
    def teaches(self) -> bool:
        """Whether weights are others than 1."""
        return self.config.teacher != "uniform"


def _refuse(path: Path, config: RunConfig, processes: int) -> None:
    """Raise MetaweightError for runs whose steps are no plain steps on weighted losses in one process."""
    reasons = (
        (config.task == "module", "was given as objects, which no folder holds: give these to WholeRun"),
        (processes > 1, f"was trained by {processes} processes, and a whole run is gone through in one"),
        (config.remedy != "none", f"had the remedy {config.remedy!r}, which trains in stages"),
        (config.relabel, "trained on labels that its teacher suggested (relabel), and no weight is theirs"),
        (config.unroll > 1, f"weighed {config.unroll} steps at once (unroll), none by itself"),
        (config.compile, "compiled its student, and compiled passes have no second derivative"),
    )
    for holds, reason in reasons:
        if holds:
            raise MetaweightError(f"{path} cannot be gone back through: it {reason}")


def _losses(folder: RunFolder, steps: int) -> list[float]:
    rows = folder.read_steps()
    numbers = [row["step"] for row in rows]
    if numbers != list(range(1, steps + 1)):
        raise ValueError(
            f"{folder.path}: steps.jsonl holds {len(rows):,} rows, and checkpoint.pt is of {steps:,} steps: "
            "one of them is of another run, or was changed; put a copy of it back"
        )
    losses = [loss for row in rows if isinstance(loss := row.get("train_loss"), float)]
    if len(losses) < len(rows):
        raise ValueError(f"{folder.path}: steps.jsonl is damaged: a row has no train_loss")
    return losses


def _elsewhere(about: Mapping[str, Any], later: list[dict[str, Any]]) -> list[str]:
    """What decides rounding and was not the same whenever the run went on."""
    names = ("versions", "cpu", "gpus", "threads")
    return [
        f"it went on with other {name} than it was started with"
        for name in names
        if any(one.get(name, about.get(name)) != about.get(name) for one in later)
    ]
