"""A finished run, built from its folder as it was built then, and held against what it left at every step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from metaweight.core.contracts import Batch, MetaweightError
from metaweight.core.randomness import RandomState, forked_rng
from metaweight.data.epochs import Epochs
from metaweight.influence.finished import Finished
from metaweight.influence.mismatch import MismatchError
from metaweight.influence.point import same_bits
from metaweight.influence.recording import Recording, Tell
from metaweight.influence.replay import Replay
from metaweight.influence.steps import Steps
from metaweight.influence.visits import Visits
from metaweight.student.execution.execution import require_device
from metaweight.tasks.assembly import learning_rate
from metaweight.tasks.base import InColumns, Prepared, tasks
from metaweight.tasks.identity import other_versions, require_data, require_options
from metaweight.tasks.pool import pooled
from metaweight.tasks.run import assemble
from metaweight.training.environment import environment
from metaweight.training.history import Source
from metaweight.training.learning_rate import RateCourse
from metaweight.training.trainer import Trainer

FOLDER = "whole"
"""In the run's folder: states and weights of its steps."""


@dataclass
class Opened:
    """A finished run that stands where it began; see ``Taking``."""

    finished: Finished
    prepared: Prepared
    trainer: Trainer
    begun: RandomState
    """The generators before the first step."""
    visits: Visits | None
    """None: all weights are 1."""
    notes: tuple[str, ...] = ()
    """What is another now, or was while the run was trained."""
    _replay: Replay | None = field(default=None, repr=False)

    @staticmethod
    def of(path: Path | str) -> Opened:
        """Read the folder and build what it trained; the generators stay as they are.

        Raises as ``Finished.read``, and ValueError where data or options are others than the run's.
        """
        finished = Finished.read(path)
        config = finished.config
        require_device(config.device)
        task = tasks[config.task]
        with _threads(finished), forked_rng(torch.device(config.device)):
            prepared = task.prepare(config)
            require_options(finished.path, finished.about, config)
            require_data(finished.path, finished.about, prepared)
            trainer = assemble(config, prepared).trainer
            begun = RandomState.of(trainer.reweighter.student.device)
        _shortened(trainer, finished)
        notes = [*other_versions(finished.path, finished.about, refuse=False), *_moved(finished)]
        visits = Visits(finished.path / FOLDER) if finished.teaches else None
        return Opened(finished, prepared, trainer, begun, visits, (*notes, *finished.elsewhere))

    @property
    def folder(self) -> Path:
        """Where states are kept."""
        return self.finished.path / FOLDER

    def steps(self) -> Steps:
        """Those of the run."""
        config, trainer = self.finished.config, self.trainer
        rates = RateCourse(
            trainer.reweighter.live.optimizer,
            learning_rate(config),
            steps=config.epochs * len(trainer.train),
            steps_per_epoch=len(trainer.train),
        )
        ones = torch.ones(self.prepared.samples, dtype=torch.float64)
        return Steps(trainer.train, self.finished.epochs, rates, config.max_norm, ones, self.visits)

    @contextmanager
    def setting(self) -> Iterator[None]:
        """See ``Taking``: as many threads as then."""
        with _threads(self.finished):
            yield

    def take(self, recording: Recording, tell: Tell) -> None:
        """See ``Taking``: what differs from the run is said at its first step; generators stay as they are.

        Raises MismatchError; Interrupted after Ctrl-C.
        """
        student = self.trainer.reweighter.student
        recording.watch = self._held_against(recording)
        with forked_rng(student.device):
            self.begun.restore(student.device)
            student.module.train()
            if self.visits is None:
                recording.take(tell)
                return
            if self._replay is None:
                self._replay = Replay(self.trainer, self.visits, self.finished)
            self._replay.take(recording, tell)

    def rows(self, of: str) -> Source:
        """See ``Taking``: ``meta``, the trusted rows, ``valid``, ``test`` or ``train``, the training rows
        without probes; each row once, as it is."""
        config = self.finished.config
        task = tasks[config.task]
        if of in ("meta", "train"):
            own = pooled(task, config.task)
            pool = own.pool(config, self.prepared)
            if of == "train":
                return own.batches(config, self.prepared, pool.train, training=False)
            if not len(pool.meta):
                raise ValueError(f"{self.finished.path} has no trusted rows to ask about")
            return own.batches(config, self.prepared, pool.meta, training=False)
        held = task.evaluation(config, self.prepared).batches
        if of not in held:
            known = ", ".join(map(repr, ("meta", "train", *held)))
            raise ValueError(f"{self.finished.path} has no rows {of!r} to ask about: it has {known}")
        batches = held[of]
        return batches if isinstance(batches, Epochs) else _Listed(list(batches))

    def cells(self, of: str, positions: Sequence[int]) -> Sequence[Mapping[str, str]]:
        """See ``Taking``."""
        task = tasks[self.finished.config.task]
        return task.cells(self.prepared, of, positions) if isinstance(task, InColumns) else ()

    def _held_against(self, recording: Recording) -> _Held:
        return _Held(self, recording)


@dataclass
class _Held:
    """Told of each step that was taken: stops at the first whose loss is not the run's."""

    opened: Opened
    recording: Recording

    def __call__(self, step: int, loss: float) -> None:
        finished = self.opened.finished
        there = finished.losses[step]
        if loss != there:
            epoch, position = self.recording.steps.place(step)
            raise MismatchError(
                f"{finished.path}, taken again, is another run from step {step + 1} of "
                f"{len(finished.losses)} on (epoch {epoch + 1}, batch {position + 1}): its mean loss was "
                f"{there!r}, is {loss!r}. "
                f"{self._why()}"
            )
        if step + 1 == len(finished.losses):
            self._end()

    def _end(self) -> None:
        """The student, which stands at the end, is that of checkpoint.pt."""
        now = self.recording.student.module.state_dict()
        for name, value in self.opened.finished.student.items():
            if name not in now or not same_bits(now[name].cpu(), value):
                raise MismatchError(
                    f"{self.opened.finished.path}, taken again, ends elsewhere: {name!r} is not that of "
                    f"checkpoint.pt, though all losses are the run's. {self._why()}"
                )

    def _why(self) -> str:
        notes = self.opened.notes
        if notes:
            return f"Since then, or on the way: {'; '.join(notes)}. Go back to that, or train it again here"
        return (
            "Data, options, versions, threads and processor are those of then: its teacher, its student or "
            "its data draw random numbers outside torch's global generators, a kernel adds in an order of "
            "its own (torch.use_deterministic_algorithms(True) names it), or steps.jsonl was changed"
        )


class _Listed:
    """Batches as a Source of one epoch."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def batch(self, epoch: int, position: int) -> Batch:
        """The ``position``-th one."""
        return self._batches[position]


def _shortened(trainer: Trainer, finished: Finished) -> None:
    """It trains as long as the run did, evaluates nothing and is watched by nobody.

    The learning rates' course and the teacher's share of training done stay those of the planned run.
    """
    if finished.epochs * len(trainer.train) != len(finished.losses):
        raise MetaweightError(
            f"{finished.path}: {finished.epochs} epochs of {len(trainer.train)} batches are not the "
            f"{len(finished.losses)} steps of steps.jsonl: the data or the options are others than then"
        )
    trainer.epochs, trainer.patience = finished.epochs, None
    trainer.evaluations = {}
    trainer.callbacks = ()


def _moved(finished: Finished) -> list[str]:
    """The machine, where it is another."""
    now = environment()
    return [
        f"{name} was {finished.about[name]!r}, is {now[name]!r}"
        for name in ("cpu", "gpus")
        if name in finished.about and finished.about[name] != now[name]
    ]


@contextmanager
def _threads(finished: Finished) -> Iterator[None]:
    """As many as the run had, for the time of it: sums are then made in the same order."""
    before, then = torch.get_num_threads(), finished.about.get("threads")
    if not isinstance(then, int) or then == before:
        yield
        return
    torch.set_num_threads(then)
    try:
        yield
    finally:
        torch.set_num_threads(before)
