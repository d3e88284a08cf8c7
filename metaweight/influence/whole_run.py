"""A training run that can be asked what each of its samples did to the student at its end."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from metaweight.core.contracts import MetaweightError
from metaweight.core.digest import digest
from metaweight.core.randomness import forked_rng
from metaweight.data.loaders import LoaderBatches
from metaweight.engines.checks import (
    refuse_changed_gradients,
    refuse_compiled,
    refuse_gradient_hooks,
    refuse_moved_parameters,
)
from metaweight.engines.inner import InnerStep, as_one
from metaweight.influence.back import InfluenceWarning, WayBack
from metaweight.influence.norms import norms_of, places_of
from metaweight.influence.point import Point
from metaweight.influence.recording import Recording, Tell, silent
from metaweight.influence.result import Influence
from metaweight.influence.steps import Steps
from metaweight.influence.taking import AsGiven, Taking
from metaweight.influence.targets import Meta, Mode, Targets
from metaweight.student.student import Student
from metaweight.training.history import Source
from metaweight.training.learning_rate import LearningRate, RateCourse


class WholeRun:
    """A run that is recorded, so that gradients pass through all of it.

    ``source``: a DataLoader, read in this process in an order of ``seed``, or batches by (epoch, position),
    whose index counts the samples from 0.  ``optimizer``: one of torch.optim, or several; ``learning_rate``:
    the course over the run that its rate takes.  ``weights`` [N]: of the samples; None: 1.  ``max_norm``:
    gradients are clipped to it.  ``checkpoints``: which states are kept, see ``Segments.planned``: "sqrt"
    (about as many as steps between two of them), "all", a number of steps, or what they may take together,
    "2GB".  ``folder``: where they are kept, so that another process goes on, forwards and backwards; None:
    in memory.  ``on_difference``: "stop" where steps taken again do not end to the last bit where they ended
    first, or go on with what is "recorded".

    Source: Fan et al. (AAAI 2021), Algorithm 1, carried through the whole run; cf. Ilyas and Engstrom, MAGIC
    (2025).  Raises MetaweightError for students that keep state outside of parameters and buffers, and for
    those that ``Reverse`` refuses.
    """

    student: Student
    source: Source
    steps: Steps
    recording: Recording
    folder: Path | None

    def __init__(
        self,
        student: Student,
        source: Source | DataLoader[Any],
        optimizer: Optimizer | Sequence[Optimizer],
        *,
        epochs: int,
        learning_rate: LearningRate | None = None,
        weights: Tensor | None = None,
        max_norm: float | None = None,
        checkpoints: str | int = "sqrt",
        folder: Path | str | None = None,
        on_difference: Literal["stop", "recorded"] = "stop",
        seed: int = 0,
    ) -> None:
        if epochs < 1:
            raise ValueError(f"a run has 1 epoch or more, got {epochs}")
        one = as_one(optimizer)
        own: Source = (
            LoaderBatches(source, seed=seed, device=student.device)
            if isinstance(source, DataLoader)
            else source
        )
        course = LearningRate() if learning_rate is None else learning_rate
        rates = RateCourse(one, course, steps=epochs * len(own), steps_per_epoch=len(own))
        if weights is None:
            weights = torch.ones(_samples(own), dtype=torch.float64)
        if weights.dim() != 1 or not bool(weights.isfinite().all()):
            raise ValueError(f"weights are finite numbers [N], got {tuple(weights.shape)}")
        steps = Steps(own, epochs, rates, max_norm, weights.detach().cpu())
        self._stand(student, one, steps, AsGiven(), checkpoints, folder, on_difference)

    @classmethod
    def opened(
        cls,
        folder: Path | str,
        *,
        checkpoints: str | int = "sqrt",
        on_difference: Literal["stop", "recorded"] = "stop",
    ) -> WholeRun:
        """The finished run of ``metaweight train`` in ``folder``, built from its options as it was then.

        It is trained once more, with its teacher where it has one, and each loss held against that of
        steps.jsonl and the end against checkpoint.pt, to the last bit; the weights of each step then count as
        constants.  States lie in the folder ``whole`` of the run's.  ``on_difference="recorded"``: also for
        runs whose engine gave the student's gradient itself; a warning says how far that is off.
        Raises FileNotFoundError and ValueError for what is no finished run, or for other data or options;
        MetaweightError for what cannot be gone back through: several processes, relabelled, unrolled,
        compiled, remedies; CheckpointError.
        """
        from metaweight.influence.opening import Opened  # tasks bring pandas and the like

        run, opened = cls.__new__(cls), Opened.of(folder)
        live = opened.trainer.reweighter.live
        run._stand(
            live.student, live.optimizer, opened.steps(), opened, checkpoints, opened.folder, on_difference
        )
        return run

    def _stand(
        self,
        student: Student,
        optimizer: Optimizer,
        steps: Steps,
        taking: Taking,
        checkpoints: str | int,
        folder: Path | str | None,
        on_difference: Literal["stop", "recorded"],
    ) -> None:
        """Check all parts and be ready to record."""
        if on_difference not in ("stop", "recorded"):
            raise ValueError(f"on_difference is 'stop' or 'recorded', got {on_difference!r}")
        _refuse(student)
        InnerStep.of(optimizer, student.parameters(), steps.max_norm)
        student.learn_what_moves(steps.batch(0))
        refuse_moved_parameters(student)
        if student.moving.places:
            place = next(iter(student.moving.places))
            raise MetaweightError(
                f"a pass of the student changes {place.where}, which is neither a parameter nor a buffer, so "
                "a step cannot be taken again from where it began: register it as a buffer"
            )
        self.student, self.optimizer, self.source, self.steps = student, optimizer, steps.source, steps
        self.folder = None if folder is None else Path(folder)
        self.checkpoints, self.on_difference, self._taking = checkpoints, on_difference, taking
        self.recording = self._recording(steps, self.folder)

    def _recording(self, steps: Steps, folder: Path | None) -> Recording:
        return Recording(
            self.student,
            self.optimizer,
            steps,
            checkpoints=self.checkpoints,
            folder=folder,
            stops=self.on_difference == "stop",
        )

    def record(self, tell: Tell = silent) -> None:
        """Train the student to the end of the run; nothing where that is done, the rest where a part is.

        ``tell``: told (steps done, steps in all) now and then.  Raises MismatchError where its first step,
        taken twice, gives two answers; NonFiniteError.
        """
        if not self.recording.whole:
            with self._taking.setting():
                self._taking.take(self.recording, tell)

    def rows(self, of: str = "meta") -> Source:
        """Batches of an opened run's own rows, to ask about: ``meta``, the trusted ones, ``valid``, ``test``.

        Raises ValueError where it has none, and for a run that was given as objects.
        """
        return self._taking.rows(of)

    def influence(
        self,
        meta: Meta,
        *,
        each: bool = False,
        by_epoch: bool = False,
        mode: Mode = "eval",
        tell: Tell = silent,
    ) -> Influence:
        """What the weight of each sample does to the mean loss of ``meta`` at the end of the run.

        ``meta``: a Batch, a DataLoader, batches by (epoch, position); several of these in a list or mapping
        are asked about at once, and with ``each`` every row of one set.  ``mode``: whether the student
        evaluates there (running statistics, no dropout), as users of it do, or trains.  Records the run
        where that is to do.  Costs about 4 plain runs for one loss and 2 for each further one; leaves the
        student at the end of the run.  Raises MismatchError where the run, taken again, is another one;
        EngineError for an operator without a second derivative.
        """
        if mode not in ("eval", "train"):
            raise ValueError(f"mode is 'eval' or 'train', got {mode!r}")
        self.record()
        targets = Targets.of(meta, each=each, device=self.student.device)
        recording = self.recording
        with self._taking.setting(), self._put_back(recording):
            end = recording.end()
            self._refuse_other_buffers(recording.store.get(0), end, mode)
            said = targets.said(self.student, end, mode)
            kept = None if self.folder is None else self.folder / f"back-{_name(targets, by_epoch, mode)}.pt"
            values = WayBack(recording, said, by_epoch=by_epoch, kept=kept).go(tell)
        _tell_how_far_off(recording)
        losses = torch.tensor([one.loss for one in said], dtype=torch.float64)
        total = _summed(values)
        single = not each and len(said) == 1
        parts = values if by_epoch else None
        if single:
            return Influence(total[0], losses[0], None if parts is None else parts[0])
        return Influence(total, losses, parts)

    @contextmanager
    def _put_back(self, recording: Recording) -> Iterator[None]:
        """The student and its optimizer stand at the end of the run afterwards, gradients let go of."""
        with forked_rng(self.student.device):
            try:
                yield
            finally:
                recording.end().put(self.student, self.optimizer)
                recording.steps.set_rates(self.optimizer, len(recording.steps) - 1)
                for p in self.student.parameters().values():
                    p.grad = None

    def _refuse_other_buffers(self, start: Point, end: Point, mode: Mode) -> None:
        """Raise MetaweightError where passes move what the loss may read and no derivative passes through."""
        known = places_of(norms_of(self.student.module))
        for name, value in end.buffers.items():
            if name in known or not value.is_floating_point() or torch.equal(value, start.buffers[name]):
                continue
            raise MetaweightError(
                f"passes move {name!r}, and what it has become depends on the weights in a way that is not "
                "known here (only running statistics of BatchNorm are): leave that layer out, or freeze it"
            )


def _refuse(student: Student) -> None:
    refuse_compiled(student)
    refuse_gradient_hooks(student)
    refuse_changed_gradients(student)
    if student.processes.size > 1 or student.sharded is not None:
        raise MetaweightError("a whole run is recorded in one process: start it without torchrun")


def _samples(source: Source) -> int:
    """One more than the largest position in an epoch."""
    return 1 + max(int(source.batch(0, position).index.max()) for position in range(len(source)))


def _tell_how_far_off(recording: Recording) -> None:
    """Warn where steps taken again have ended elsewhere than in the states that are kept."""
    far = {end: off for end, off in recording.off.items() if off[0]}
    if far:
        end = max(far, key=lambda place: far[place])
        most, name = far[end]
        warnings.warn(
            f"{len(far)} of {len(recording.off)} parts of the run, taken again, ended elsewhere than "
            f"recorded: by {most:.1e} of a parameter's size at most, {name!r} after step {end}. Each began "
            "where the run was; influences may be off by as much",
            InfluenceWarning,
            stacklevel=3,
        )


def _summed(values: Tensor) -> Tensor:
    """Over epochs; NaN where a sample was in none."""
    return torch.where(values.isnan().all(1), torch.nan, values.nansum(1))


def _name(targets: Targets, by_epoch: bool, mode: Mode) -> str:
    parts = [value for batches in targets.sets for batch in batches for value in (batch.index, batch.targets)]
    return digest(*parts, [str(targets.each), str(by_epoch), mode, str([len(s) for s in targets.sets])])[:12]
