"""Plain training beside a run: the same student on the same rows, each of which counts as 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from metaweight.comparison.arms import BASE, PLAIN, arm_of
from metaweight.comparison.cells import alone, finished, trained
from metaweight.core.processes import Processes
from metaweight.remedies import run
from metaweight.tasks import Prepared, tasks
from metaweight.tasks.assembly import trains_on_meta
from metaweight.tasks.config import RunConfig, with_options
from metaweight.tasks.outcome import RESULT, RunResult
from metaweight.training.callbacks import Callback

BESIDE = "plain"
"""Folder of the plain run below the one that it is compared with: a run folder like any other."""
C = TypeVar("C", bound=RunConfig)


def plain_config(config: C) -> C:
    """The options of the plain run beside one of ``config``.

    It is what a user would have without weights: no teacher, remedy, or loss of their kind (``BASE``), the
    rest as it is, trusted rows too where the run trains on these.  Seed, split, noise and the student's first
    weights are the same.  Probes are not planted: half of them are wrong on purpose, and plain training that
    had to learn them would lose by what only the test of the weights brought in.  What probes cost, or give,
    is the run's own.
    """
    parts: dict[str, Any] = {name: value for name, value in BASE.items() if hasattr(config, name)}
    parts |= {f"{name}_options": {} for name in parts}
    if trains_on_meta(config):
        parts["train_on_meta"] = True
    return with_options(config, {**parts, "probes": 0.0, "plain_run": False, "relabel": False})


def require_comparable(config: RunConfig, prepared: Prepared) -> None:
    """Raise ValueError where ``config`` asks for a plain run beside, and it could not be compared with."""
    if not config.plain_run:
        return
    if arm_of(config) == PLAIN:
        raise ValueError(
            "plain_run trains plainly beside a run, and this run is plain training itself: leave it out, or "
            "name a teacher"
        )
    task = tasks[config.task]
    if not task.presentation.always_tested and not task.evaluation(config, prepared).batches:
        raise ValueError(
            "plain_run compares on test rows, or else on validation rows, and there are neither: name some "
            "that somebody has checked (test, or valid), or leave out plain_run"
        )


def is_wanted(config: RunConfig, folder: Path | None) -> bool:
    """Whether a plain run belongs beside the run of ``config`` in ``folder``: asked for, or begun once.

    In several processes all ask, the first one with the folder.
    """
    begun = folder is not None and (folder / BESIDE).is_dir()
    return Processes.at_hand().any(config.plain_run or begun)


def train_beside(
    config: RunConfig, folder: Path, prepared: Prepared, callbacks: Sequence[Callback] = ()
) -> RunResult:
    """Train the plain run of ``config``, itself a ``plain_config``, below the run in ``folder``: begun, gone
    on with, or read where it has ended.

    ``prepared``: its data, those of the other run where that has no probes.  Of several processes the first
    one calls it, and the others ``train_along``.
    """
    place = folder / BESIDE
    ended, _ = _state(place)
    return finished(place) if ended else trained(alone(config, BESIDE), place, prepared, callbacks)


def train_along(config: RunConfig, prepared: Prepared, callbacks: Sequence[Callback] = ()) -> None:
    """Train with the process that calls ``train_beside``, and keep nothing."""
    ended, begun = _state(None)
    if not ended:
        run(config, prepared=prepared, callbacks=callbacks, resume=begun)


def _state(place: Path | None) -> tuple[bool, bool]:
    """Whether the plain run in ``place`` has ended, and whether it has begun: the first process's to say."""
    there = place is not None and place.is_dir()
    ended = place is not None and (place / RESULT).is_file()
    return Processes.at_hand().from_first(lambda: (ended, there))
