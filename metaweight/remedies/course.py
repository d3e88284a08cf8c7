"""The stages of a remedy: each a run of its own, in a folder of its own, trained once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.core.processes import Processes
from metaweight.data.epochs import Epochs
from metaweight.remedies.scores import by_position, token_losses
from metaweight.reweighter import Reweighter
from metaweight.student.student import Student
from metaweight.tasks import Assembled, Prepared, assemble, pooled, run_manifest, tasks
from metaweight.tasks.config import RunConfig
from metaweight.training.callbacks import Callback
from metaweight.training.evaluation import class_probabilities
from metaweight.training.history import Interrupted, Source
from metaweight.training.run_folder import RunFolder
from metaweight.training.spread import spread

STAGES = "stages"
"""The sub-folder of a run folder that holds the folders of its earlier stages."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """One training of a remedy: what it does otherwise than a plain run."""

    config: RunConfig
    """Its own options."""
    source: Source | None = None
    """Training batches; None: the training set's."""
    reweighter: Reweighter | None = None
    """The student with its loss and optimizer; None: as the task builds it."""
    callbacks: tuple[Callback, ...] = ()
    conclude: Callable[[Assembled], Assembled] | None = None
    """What is done when it has been trained, also where it is read again."""
    kept: Tensor | None = None
    """Positions of the training samples that a filter left; None where none was dropped on purpose."""
    weighs: bool = False
    """Whether its training samples have weights of their own, found before."""
    students: int = 1
    """How many students a step trains: it costs as many plain steps."""


class Course:
    """A run under a remedy: its data, and its stages so far.

    Where ``folder`` is given, an earlier stage lives in ``stages/NAME`` of it: one that has ended is read
    from its checkpoint, one that was stopped goes on from there, and the last stage has ``folder`` itself.
    In several processes the first one alone has it.
    """

    def __init__(
        self,
        config: RunConfig,
        prepared: Prepared,
        folder: RunFolder | None = None,
        *,
        callbacks: Sequence[Callback] = (),
        resume: bool = False,
    ) -> None:
        self.config = replace(config, remedy="none", remedy_options={})
        self.prepared, self.folder, self.callbacks = prepared, folder, tuple(callbacks)
        self.task = tasks[config.task]
        self._samples = pooled(self.task, config.task)
        self.pool = self._samples.pool(config, prepared)
        self.seconds = 0.0
        """Of training, all stages so far."""
        self._steps = 0
        self._resume = resume
        self._processes = Processes.at_hand()

    @property
    def plain_batches(self) -> int:
        """Batches of an epoch of plain training."""
        return len(self.task.sources(self.config, self.prepared).train)

    @property
    def cost(self) -> float:
        """Steps of all stages so far, each times the students that it trains, in those of a plain run."""
        return self._steps / (self.config.epochs * self.plain_batches)

    def spend(self, runs: float) -> None:
        """Count ``runs`` plain runs that something else than a stage has cost."""
        self._steps += round(runs * self.config.epochs * self.plain_batches)

    def batches(self, positions: Tensor, *, training: bool = True) -> Epochs:
        """Batches of the pool's ``positions`` [n]: to train on, or each once as it is, to be scored."""
        return self._samples.batches(self.config, self.prepared, positions, training=training)

    def build(self) -> Reweighter:
        """The student with its optimizer as a plain run starts with it."""
        built: Reweighter = self.task.build(self.config, self.prepared)
        return built

    def plain(self, name: str = "plain", positions: Tensor | None = None) -> Student:
        """The student of an earlier stage of plain training, on ``positions`` (default: the training set)."""
        source = None if positions is None else self.batches(positions)
        return self.train(name, Stage(config=self.config, source=source)).trainer.reweighter.student

    def train(self, name: str, stage: Stage) -> Assembled:
        """Run an earlier stage, or take up what is there of it."""
        folder, resume = self._enter(name, stage.config)
        trained = self._fit(stage, folder, resume=self._processes.any(resume))
        # in its last iteration, so that the stage has ended
        if self._processes.any(trained.trainer.interrupted):
            raise Interrupted(f"stopped after stage {name!r}")
        return trained

    def _enter(self, name: str, config: RunConfig) -> tuple[RunFolder | None, bool]:
        """The folder of an earlier stage, and whether a checkpoint lies there to go on from."""
        if self.folder is None:
            return None, False
        path = self.folder.path / STAGES / name
        if self._resume and (path / "checkpoint.pt").is_file():
            return RunFolder.open(path), True
        if self._resume and path.is_dir():
            shutil.rmtree(path)  # stopped before its first epoch's end
        folder = RunFolder.create(path, run_manifest(config, self.prepared, stage=name))
        self.task.keep(self.prepared, folder)
        return folder, False

    def finish(self, stage: Stage) -> Assembled:
        """Run the last stage, in the run's own folder."""
        resume = False
        if self.folder is not None and self._resume:
            resume = (self.folder.path / "checkpoint.pt").is_file()
            if not resume:
                self.folder.truncate_steps(0)  # stopped before the first epoch's end
        return self._fit(stage, self.folder, resume=self._processes.any(resume))

    def _fit(self, stage: Stage, folder: RunFolder | None, *, resume: bool) -> Assembled:
        assembled = assemble(
            stage.config,
            self.prepared,
            folder,
            callbacks=(*self.callbacks, *stage.callbacks),
            reweighter=stage.reweighter,
            train=stage.source,
        )
        trainer = assembled.trainer
        if resume:
            trainer.resume()
        trainer.fit()
        self.seconds += trainer.seconds
        self._steps += stage.students * trainer.reweighter.steps
        if stage.kept is not None:
            assembled.weights.leave_out(self.pool.train[~torch.isin(self.pool.train, stage.kept)])
        return assembled if stage.conclude is None else stage.conclude(assembled)

    def probabilities(self, student: Student, positions: Tensor) -> Tensor:
        """What a student says of each class, in eval mode: [n, C] float64, in the order of ``positions``."""
        index, values = class_probabilities(student, self._in_order(positions))
        return by_position(index.cpu(), values.double().cpu(), positions)

    def losses(self, student: Student, positions: Tensor) -> Tensor:
        """A student's loss per target in eval mode: [n] float64, in the order of ``positions``."""
        index, values = token_losses(student, self._in_order(positions))
        return by_position(index, values, positions)

    def _in_order(self, positions: Tensor) -> Iterable[Batch]:
        """Batches of ``positions``, each once as it is, for all processes to share out."""
        return spread(self.batches(positions, training=False), self._processes)
