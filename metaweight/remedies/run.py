"""A run of any task, with or without a remedy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from metaweight import tasks
from metaweight.core.processes import Processes
from metaweight.remedies.base import build_remedy, check_built
from metaweight.remedies.course import STAGES, Course
from metaweight.tasks.config import RunConfig
from metaweight.training.callbacks import Callback
from metaweight.training.run_folder import RunFolder


def run(
    config: RunConfig,
    folder: RunFolder | None = None,
    *,
    prepared: tasks.Prepared | None = None,
    callbacks: Sequence[Callback] = (),
    resume: bool = False,
) -> tasks.Outcome:
    """Train as ``config`` says, in the stages of its remedy where it has one; as ``tasks.run``.

    ``resume``: go on where the run was stopped, in whatever stage.  Under a remedy ``seconds`` are those of
    all stages, ``cost`` is known, and the AUROC is NaN unless samples were dropped or weighed.  In several
    processes all call it, and the first alone has a ``folder``.
    """
    remedy = build_remedy(config)
    if remedy is None:
        return tasks.run(config, folder, prepared=prepared, callbacks=callbacks, resume=resume)
    task = tasks.tasks[config.task]
    prepared = task.prepare(config) if prepared is None else prepared
    check_built(remedy, config, prepared)
    resume = resume and Processes.at_hand().any(folder is not None and begun(folder))
    if folder is not None and not resume:
        tasks.begin(task, prepared, folder)
    course = Course(config, prepared, folder, callbacks=callbacks, resume=resume)
    last = remedy.last(course)
    outcome = task.conclude(config, prepared, course.finish(last), folder)
    figures = dict(outcome.figures)
    for name in figures:
        if name == "seconds":
            figures[name] = course.seconds
        elif last.kept is None and not last.weighs and name.split("_")[0] == "auroc":
            figures[name] = math.nan  # every weight is 1 and picks nothing
    return replace(outcome, figures=figures, cost=course.cost)


def go_on(folder: RunFolder, config: RunConfig, prepared: tasks.Prepared) -> list[str]:
    """Take up ``folder``, held by this process, for ``run`` with ``resume``; what is new there, in lines.

    A manifest says what goes on.  Raises as ``require_same_run`` where it would be another run.
    """
    trained = begun(folder)
    notes = tasks.require_same_run(folder, config, prepared, begun=trained)
    folder.write_manifest(tasks.run_manifest(config, prepared), None if trained else "manifest.json")
    return notes


def begun(folder: RunFolder) -> bool:
    """Whether there is something in ``folder`` that ``run`` could go on with."""
    return (folder.path / "checkpoint.pt").is_file() or (folder.path / STAGES).is_dir()
