"""``rater.pt``: what a run leaves for rating, one small file in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from metaweight.reweighter import Reweighter
from metaweight.student.execution.execution import require_device
from metaweight.tasks.base import kept_config, tasks
from metaweight.tasks.config import RunConfig
from metaweight.tasks.rating.new import Reader
from metaweight.tasks.rating.rater import Rater
from metaweight.teachers.rating import lasting_state, recipe_of, recipe_record, require_rating
from metaweight.training import checkpoint
from metaweight.training.run_folder import RunFolder

RATER = "rater.pt"
"""Student, teacher without what it remembers of samples, and what is to be known to read later rows; without
optimizers and data.  Vocabularies lie beside it."""


@runtime_checkable
class Rating(Protocol):
    """A task whose runs can rate rows that come after them."""

    def reading(self, config: Any, prepared: Any) -> Mapping[str, Any] | None:
        """What later rows are read by, as JSON holds it, but for what ``Task.keep`` writes; None: they are in
        no file."""
        ...

    def reader(self, config: Any, reading: Mapping[str, Any], folder: Path) -> Reader:
        """Of what ``reading`` gave, and what ``Task.keep`` wrote into ``folder``."""
        ...


def keep_rater(config: RunConfig, prepared: Any, reweighter: Reweighter, folder: RunFolder) -> None:
    """Write ``RATER``, whole or not at all, where the run's task and teacher can rate later rows."""
    task, recipe = tasks[config.task], reweighter.teacher.recipe
    if not isinstance(task, Rating) or recipe is None or type(reweighter.teacher).unrated:
        return
    reading = task.reading(config, prepared)
    if reading is None:
        return
    about = {
        "teacher": recipe_record(recipe),
        "progress": reweighter.live.progress,
        "reading": reading,
    }
    module = reweighter.student.module
    state = {
        "about": json.dumps(about),
        "student": module.state_dict(),
        "teacher": lasting_state(reweighter.teacher),
    }
    checkpoint.save(folder.path / RATER, state, checkpoint.shapes_of("student", module.state_dict()))


def rater_of(reweighter: Reweighter, reader: Reader) -> Rater | None:
    """The rater that a run in memory leaves; None where its teacher was made by hand."""
    teacher = reweighter.teacher
    if teacher.recipe is None:
        return None
    return Rater(reweighter.student, teacher.recipe, lasting_state(teacher), reweighter.live.progress, reader)


def load_rater(path: Path | str, *, device: str | None = None) -> Rater:
    """The rater that the run in the folder ``path`` left; ``device``: by default the run's.

    Raises ValueError, with what to take instead, for a run that leaves none, FileNotFoundError where there is
    no run or it has not ended, CheckpointError for a damaged file.
    """
    folder = RunFolder.open(path)
    about = folder.manifest()
    config = _config(folder, about)
    if config.remedy != "none":
        raise ValueError(
            f"{path} is a run of the remedy {config.remedy}, which learns no weights: name a run of a teacher"
        )
    require_rating(config.teacher)
    task, file = tasks[config.task], folder.path / RATER
    if not isinstance(task, Rating) or config.task == "module":
        raise ValueError(
            f"{path} is a run of the task {config.task}, which cannot read rows from files: in Python "
            "result.rate(rows) of metaweight.fit rates them"
        )
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is not there: it is written when a run ends, and an older version wrote none; "
            f"metaweight train --resume {path} writes it"
        )
    config = config if device is None else replace(config, device=device)
    require_device(config.device)
    state = checkpoint.load(file, {}, part="none")
    kept = json.loads(state["about"])
    recipe = recipe_of(kept["teacher"], torch.device(config.device))
    require_rating(recipe.name)
    reader = task.reader(config, kept["reading"], folder.path)
    student = reader.student()
    # what is kept is of this very run: other shapes are another version's
    checkpoint.load(file, checkpoint.shapes_of("student", student.module.state_dict()), part="student")
    student.module.load_state_dict(state["student"])
    return Rater(student, recipe, state["teacher"], kept["progress"], reader)


def _config(folder: RunFolder, about: Mapping[str, Any]) -> RunConfig:
    own = about.get("config")
    if not isinstance(own, dict) or "base" in own:
        raise ValueError(f"{folder.path} is no single run: name one of metaweight train{folder.example}")
    return kept_config(about, folder.path / "manifest.json")
