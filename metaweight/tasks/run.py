"""One run of any task: assembled from its config, trained, concluded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metaweight.core.csv_text import write_csv
from metaweight.core.processes import Processes
from metaweight.data.origins import COLUMNS
from metaweight.reweighter import Reweighter
from metaweight.tasks.assembly import Assembled, learning_rate
from metaweight.tasks.base import Prepared, Task, Watching, tasks
from metaweight.tasks.config import RunConfig
from metaweight.tasks.outcome import Outcome
from metaweight.tasks.rating.kept import keep_rater
from metaweight.training.callbacks import AttentionHistory, Callback, WeightHistory
from metaweight.training.history import Source
from metaweight.training.run_folder import RunFolder
from metaweight.training.trainer import Trainer

LEFT_OUT = "left_out.csv"
"""Every sample that a run does not use, with the reason; a file for people."""


def assemble(
    config: RunConfig,
    prepared: Prepared,
    folder: RunFolder | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    reweighter: Reweighter | None = None,
    train: Source | None = None,
) -> Assembled:
    """Everything that ``run`` needs; a mistake in the config shows here, before anything is written.

    ``reweighter``, ``train``: others than the task builds.
    """
    task = tasks[config.task]
    weights = WeightHistory(
        prepared.samples,
        config.epochs,
        config.warmup_epochs,
        processes=Processes.at_hand(),
        folder=folder,
    )
    attention = AttentionHistory()
    watchers = tuple(task.watchers(config, prepared)) if isinstance(task, Watching) else ()
    sources = task.sources(config, prepared)
    evaluation = task.evaluation(config, prepared)
    trainer = Trainer(
        task.build(config, prepared) if reweighter is None else reweighter,
        sources.train if train is None else train,
        sources.meta,
        epochs=config.epochs,
        evaluations=evaluation.batches,
        evaluate=evaluation.function,
        monitor=evaluation.monitor,
        higher_is_better=evaluation.higher_is_better,
        evaluate_every=config.evaluate_every,
        warmup_epochs=config.warmup_epochs,
        learning_rate=learning_rate(config),
        patience=config.patience,
        folder=folder,
        callbacks=(weights, attention, *watchers, *callbacks),
    )
    return Assembled(trainer, weights, attention, watchers=watchers)


def run(
    config: RunConfig,
    folder: RunFolder | None = None,
    *,
    prepared: Prepared | None = None,
    callbacks: Sequence[Callback] = (),
    resume: bool = False,
) -> Outcome:
    """Train as ``config`` says; with a ``folder``, log there, keep weights by sample and a checkpoint.

    ``resume``: go on from the checkpoint in ``folder``, or begin anew where none was written yet.
    """
    task = tasks[config.task]
    prepared = task.prepare(config) if prepared is None else prepared
    assembled = assemble(config, prepared, folder, callbacks=callbacks)
    if resume and assembled.trainer.has_checkpoint:
        assembled.trainer.resume()
    elif folder is not None:
        begin(task, prepared, folder)
    assembled.trainer.fit()
    outcome = task.conclude(config, prepared, assembled, folder)
    if folder is not None:
        keep_rater(config, prepared, assembled.trainer.reweighter, folder)
    return outcome


def begin(task: Task[Any, Any], prepared: Prepared, folder: RunFolder) -> None:
    """Write what a run's folder holds from the start on, and ``left_out.csv`` if anything was left out."""
    folder.truncate_steps(0)  # of a start that wrote no checkpoint
    task.keep(prepared, folder)
    if len(left_out := prepared.left_out):
        write_csv(folder.path / LEFT_OUT, (*COLUMNS, "reason", "text"), left_out.rows())
