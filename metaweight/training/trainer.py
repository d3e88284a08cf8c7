"""The Trainer: epochs, learning rates, evaluation, checkpoints; no maths of its own."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from metaweight.core.contracts import Batch, NonFiniteError, StepReport
from metaweight.core.registry import did_you_mean
from metaweight.data.epochs import let_rest
from metaweight.data.loaders import as_source
from metaweight.engines.inner import members
from metaweight.reweighter import Reweighter
from metaweight.training import checkpoint
from metaweight.training.callbacks import Callback
from metaweight.training.evaluation import Evaluate, evaluate
from metaweight.training.history import History, Interrupted, Source, check_epochs, own_part
from metaweight.training.iterations import Iterations
from metaweight.training.learning_rate import LearningRate, RateCourse
from metaweight.training.run_folder import RunFolder
from metaweight.training.spread import spread


class Trainer:
    """Runs a Reweighter over epochs.

    ``train`` and ``meta`` are Sources, or DataLoaders (see ``as_source``); ``evaluations``: name ->
    batches, evaluated each ``evaluate_every`` epochs and at the last one by ``evaluate``; its figures are
    called ``NAME_FIGURE`` in an epoch's row.
    ``monitor``, one of these, decides the best epoch, and ``patience`` stops after so many evaluations in
    which it was not better; with ``higher_is_better=False`` it is a loss.  ``warmup_epochs`` are plain
    training without the teacher.  The teacher's learning rate takes the student's course unless it is given
    its own: hypergradients shrink with the student's rate, and an Adam that does not follow would turn what
    noise is left in them into steps of full size.  A Reweighter that unrolls K steps gets windows of K
    batches, the last of an epoch may be shorter, and each takes the next meta batch.  With a ``folder`` each
    iteration is logged and ``checkpoint.pt`` written at the end of each epoch and on Ctrl-C, which lets the
    window end.  In several processes (see ``Reweighter``) all are given the same sources, and each reads and
    trains on its part of every batch; the first alone has the ``folder``.
    """

    def __init__(
        self,
        reweighter: Reweighter,
        train: Source,
        meta: Source | None = None,
        *,
        epochs: int,
        evaluations: Mapping[str, Iterable[Batch]] | None = None,
        evaluate: Evaluate = evaluate,
        monitor: str = "valid_accuracy",
        higher_is_better: bool = True,
        evaluate_every: int = 1,
        warmup_epochs: int = 0,
        learning_rate: LearningRate | None = None,
        teacher_learning_rate: LearningRate | None = None,
        patience: int | None = None,
        folder: RunFolder | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        check_epochs(epochs, warmup_epochs, evaluate_every)
        if meta is None and reweighter.needs_meta:
            raise ValueError("this teacher needs a meta set: Trainer(reweighter, train, meta, ...)")
        split = monitor.partition("_")[0]
        if patience is not None and split not in (evaluations or {}):
            raise ValueError(f"early stopping (patience) needs an evaluation named {split!r}")
        self.reweighter, device = reweighter, reweighter.student.device
        self.train = as_source(train, device=device)
        self.meta = as_source(meta, seed=1, device=device, cycled=True)
        self.epochs, self.warmup_epochs, self.patience = epochs, warmup_epochs, patience
        given = dict(evaluations or {})
        self.evaluations = {name: as_source(batches, device=device) for name, batches in given.items()}
        self.evaluate_every = evaluate_every
        self.evaluate, self.monitor, self.higher_is_better = evaluate, monitor, higher_is_better
        self.folder, self.callbacks = folder, tuple(callbacks)
        self.history = History()
        self.epoch = self.position = 0
        self.seconds = 0.0
        self._iterations = Iterations(folder)
        self.interrupted = False
        self._processes = reweighter.student.processes
        if self._processes.rank > 0:  # its own dropout masks
            torch.manual_seed(torch.initial_seed() + self._processes.rank)
        reweighter.live.total_steps = epochs * len(train)
        course = learning_rate or LearningRate()
        span = {"steps": epochs * len(train), "steps_per_epoch": len(train)}
        self._rates = RateCourse(reweighter.live.optimizer, course, **span)
        self._teacher_rates: RateCourse | None = None
        if reweighter.teacher_optimizer is not None:
            own = teacher_learning_rate or course
            self._teacher_rates = RateCourse(reweighter.teacher_optimizer, own, **span)

    @property
    def checkpoint_path(self) -> Path | None:
        """Where this run's checkpoint lies."""
        return None if self.folder is None else self.folder.path / "checkpoint.pt"

    @property
    def has_checkpoint(self) -> bool:
        """Whether one was written: ``resume`` needs it."""
        own = self.checkpoint_path is not None and self.checkpoint_path.is_file()
        return self._processes.any(own)

    @property
    def best_epoch(self) -> int | None:
        """By the monitored figure, so far; None before its first evaluation."""
        return self.history.best_epoch

    @property
    def done(self) -> float:
        """Epochs done, the one at hand in part."""
        return self.epoch + self.position / len(self.train)

    def fit(self) -> History:
        """Train to the last epoch, from where the state stands.

        Raises Interrupted after Ctrl-C (checkpoint written), NonFiniteError where a loss or weight is
        NaN (the last checkpoint is kept).
        """
        self.reweighter.student.module.train()
        for callback in self.callbacks:
            callback.on_start(self)
        with self._catch_interrupt():
            while self.epoch < self.epochs and not self.history.stopped_early:
                self._run_epoch()
        let_rest((self.train, self.meta, *self.evaluations.values()))
        for callback in self.callbacks:
            callback.on_end(self)
        return self.history

    def _run_epoch(self) -> None:
        while self.position < len(self.train):
            if self._processes.any(self.interrupted):
                self._leave()
            started = time.perf_counter()
            window = self._window()
            report = self._step(window)
            self.seconds += time.perf_counter() - started
            rate = float(self.reweighter.live.optimizer.param_groups[0]["lr"])
            row = {"step": self.reweighter.steps, "epoch": self.epoch + 1, "lr": rate}
            self._iterations.add(row, report, len(window))
            for callback in self.callbacks:
                callback.on_step(self, window[-1], report)
            self.position += len(window)
        self.position = 0
        self.epoch += 1
        row = self._evaluate()
        for callback in self.callbacks:
            callback.on_epoch(self, row)
        self.save()

    def _window(self) -> list[Batch]:
        """The next batches, as many as the Reweighter unrolls; fewer where the epoch ends."""
        end = min(self.position + self.reweighter.unroll, len(self.train))
        places = range(self.position, end)
        return [own_part(self.train, self.epoch, place, self._processes) for place in places]

    def _step(self, window: Sequence[Batch]) -> StepReport:
        teach = self.epoch >= self.warmup_epochs
        meta = None
        if self.meta is not None and teach:
            # the meta set cycles: its own epoch and position at this iteration
            place = divmod(self.reweighter.windows, len(self.meta))
            meta = own_part(self.meta, *place, self._processes)
        first = self.reweighter.steps
        if self._teacher_rates is not None:
            self._teacher_rates.set(first)
        rates = [self._rates.at(step) for step in range(first, first + len(window))]
        try:
            report = self.reweighter.step(window, meta, teach=teach, rates=rates)
        except NonFiniteError as error:
            self._iterations.note()
            where = f" The last good checkpoint is {self.checkpoint_path}." if self.has_checkpoint else ""
            raise NonFiniteError(
                f"epoch {self.epoch + 1}, step {self.reweighter.steps + 1}: {error}.{where}", error.index
            ) from error
        return report

    def _evaluate(self) -> dict[str, float]:
        self._iterations.note()
        row: dict[str, float] = {
            "epoch": self.epoch,
            "step": self.reweighter.steps,
            "seconds": self.seconds,
            "train_loss": self._iterations.loss_sum / len(self.train),
        }
        self._iterations.loss_sum = 0.0
        if self.epoch % self.evaluate_every == 0 or self.epoch == self.epochs:
            for name, batches in self.evaluations.items():
                own = spread(batches, self._processes, self.epoch - 1)
                for key, value in self.evaluate(self.reweighter.student, own).items():
                    row[f"{name}_{key}"] = value
            if self.monitor.partition("_")[0] in self.evaluations and self.monitor not in row:
                raise KeyError(f"no evaluation gives {self.monitor!r}.{did_you_mean(self.monitor, row)}")
        self.history.epochs.append(row)
        if self.monitor in row:
            self._watch()
        return row

    def _watch(self) -> None:
        """Best epoch and early stopping, from all rows; NaN is worse than every number."""
        seen = {int(row["epoch"]): row[self.monitor] for row in self.history.epochs if self.monitor in row}
        sign = 1 if self.higher_is_better else -1
        scores = {epoch: -math.inf if math.isnan(v) else sign * v for epoch, v in seen.items()}
        best = max(scores, key=lambda epoch: scores[epoch])  # the first one where several are equal
        self.history.best_epoch = best
        since = sum(epoch > best for epoch in scores)
        self.history.stopped_early = self.patience is not None and since >= self.patience

    def _leave(self) -> None:
        self.save()
        where = f"; its checkpoint is {self.checkpoint_path}" if self.folder is not None else ""
        raise Interrupted(f"stopped in epoch {self.epoch + 1} before step {self.reweighter.steps + 1}{where}")

    @contextmanager
    def _catch_interrupt(self) -> Iterator[None]:
        """Ctrl-C lets the iteration end and then leaves; a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(_number: int, _frame: Any) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def save(self) -> None:
        """Write ``checkpoint.pt`` into the folder, if there is one."""
        if not self._processes.any(self.folder is not None):
            return
        state = self.state_dict()
        if self.folder is not None and self.checkpoint_path is not None:
            self.folder.flush()
            checkpoint.save(self.checkpoint_path, state, self._shapes())

    def resume(self, path: Path | str | None = None) -> None:
        """Go on from a checkpoint, bit for bit.  Raises CheckpointError where it does not fit."""
        place = Path(path) if path is not None else self.checkpoint_path

        def read() -> dict[str, Any]:
            if place is None:
                raise ValueError("resume takes a path, or a Trainer with a folder")
            return checkpoint.load(place, self._shapes())

        self.load_state_dict(checkpoint.handed_out(read, self.reweighter, self.callbacks))
        if self.folder is not None:
            self.folder.truncate_steps(self.reweighter.steps)

    def _shapes(self) -> dict[str, Any]:
        r = self.reweighter
        steps = " and ".join(type(one).__name__ for one in members(r.live.optimizer))
        run = None if self.folder is None else self.folder.identity
        kinds = {"optimizer": steps, "teacher": type(r.teacher).__name__}
        return {
            **kinds,
            # windows begin and end elsewhere; without it, as in checkpoints from before there were windows
            **({"unroll": r.unroll} if r.unroll > 1 else {}),
            "epochs": self.epochs,
            "batches an epoch": len(self.train),
            **checkpoint.shapes_of("student", r.student.module.state_dict()),
            **checkpoint.shapes_of("teacher", r.teacher.state_dict()),
            **({} if run is None else {checkpoint.RUN: run}),
        }

    def state_dict(self) -> dict[str, Any]:
        """All of the run's state; in processes but the first without the tables that a teacher shares out."""
        self._iterations.note()
        return {
            "reweighter": checkpoint.whole_tables(self.reweighter),
            "random": checkpoint.random_state(self.reweighter.student.device, self._processes),
            "position": [self.epoch, self.position],
            "sums": [self.seconds, self._iterations.loss_sum],
            "history": asdict(self.history),
            "callbacks": [callback.state_dict() for callback in self.callbacks],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""
        self.reweighter.load_state_dict(state["reweighter"])
        rank = self._processes.rank
        checkpoint.restore_random_state(state["random"], self.reweighter.student.device, rank)
        self.epoch, self.position = state["position"]
        self._iterations.forget()
        self.seconds, self._iterations.loss_sum = state["sums"]
        self.history = History(**state["history"])
        checkpoint.take_up(self.callbacks, state["callbacks"], self._processes)
