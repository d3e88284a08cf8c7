"""A training run that can be asked what each of its samples did to the student at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from metaweight.core.contracts import MetaweightError
from metaweight.core.digest import digest
from metaweight.core.jobs import require_jobs
from metaweight.core.randomness import forked_rng
from metaweight.data.loaders import LoaderBatches, rows_in
from metaweight.engines.checks import (
    refuse_changed_gradients,
    refuse_compiled,
    refuse_gradient_hooks,
    refuse_moved_parameters,
)
from metaweight.engines.inner import InnerStep, as_one
from metaweight.influence.back import WayBack
from metaweight.influence.certificate import Certificate
from metaweight.influence.certifying import Plan, Scores, certified, read_scores
from metaweight.influence.learning import Learning, Learnt, halved
from metaweight.influence.moves import moves
from metaweight.influence.norms import norms_of, places_of
from metaweight.influence.point import Point
from metaweight.influence.recording import Recording, Tell, silent
from metaweight.influence.result import Influence
from metaweight.influence.retraining import Kept, Retraining
from metaweight.influence.steps import Steps
from metaweight.influence.targets import Meta, Mode, Targets
from metaweight.student.student import Student
from metaweight.training.history import Source
from metaweight.training.learning_rate import LearningRate, RateCourse


class WholeRun:
    """A run that is recorded, so that gradients pass through all of it.

    ``source``: a DataLoader, read in this process in an order of ``seed``, or batches by (epoch, position),
    whose index counts the samples from 0.  ``optimizer``: one of torch.optim, or several; ``learning_rate``:
    the course over the run that its rate takes.  ``weights`` [N]: of the samples; None: 1 (N is then that of
    the loader's data set, or found by reading all epochs once).  ``max_norm``: gradients are clipped to it.
    ``checkpoints``: which states are kept, see ``Segments.planned``: "sqrt" (about as many as steps between
    two of them), "all", a number of steps, or what they may take together, "2GB".  ``folder``: where they
    are kept, so that another process goes on, forwards and backwards; None: in memory.  ``on_difference``:
    "stop" where steps taken again do not end to the last bit where they ended first, or go on with what is
    "recorded".

    Source: Fan et al. (AAAI 2021), Algorithm 1, carried through the whole run; cf. Ilyas and Engstrom, MAGIC
    (2025).  Raises MetaweightError for students that keep state outside of parameters and buffers, and for
    those that ``Reverse`` refuses.
    """

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
        if on_difference not in ("stop", "recorded"):
            raise ValueError(f"on_difference is 'stop' or 'recorded', got {on_difference!r}")
        if epochs < 1:
            raise ValueError(f"a run has 1 epoch or more, got {epochs}")
        self.student, self.optimizer = student, as_one(optimizer)
        count = None
        if isinstance(source, DataLoader):
            count, source = rows_in(source), LoaderBatches(source, seed=seed, device=student.device)
        self.source: Source = source
        _refuse(student)
        InnerStep.of(self.optimizer, student.parameters(), max_norm)
        course = LearningRate() if learning_rate is None else learning_rate
        total = epochs * len(self.source)
        rates = RateCourse(self.optimizer, course, steps=total, steps_per_epoch=len(self.source))
        first = self.source.batch(0, 0)
        student.learn_what_moves(first)
        refuse_moved_parameters(student)
        if student.moving.places:
            place = next(iter(student.moving.places))
            raise MetaweightError(
                f"a pass of the student changes {place.where}, which is neither a parameter nor a buffer, so "
                "a step cannot be taken again from where it began: register it as a buffer"
            )
        if weights is None:
            count = _samples(self.source, epochs) if count is None else count
            weights = torch.ones(count, dtype=torch.float64)
        if weights.dim() != 1 or not bool(weights.isfinite().all()):
            raise ValueError(f"weights are finite numbers [N], got {tuple(weights.shape)}")
        self.steps = Steps(self.source, epochs, rates, max_norm, weights.detach().cpu())
        self.folder = None if folder is None else Path(folder)
        self.checkpoints, self.on_difference = checkpoints, on_difference
        self.recording = self._recording(self.steps, self.folder)

    def _recording(self, steps: Steps, folder: Path | None, *, rehearsed: bool = False) -> Recording:
        return Recording(
            self.student,
            self.optimizer,
            steps,
            checkpoints=self.checkpoints,
            folder=folder,
            stops=self.on_difference == "stop",
            rehearsed=rehearsed,
        )

    def record(self, tell: Tell = silent) -> None:
        """Train the student to the end of the run; nothing where that is done, the rest where a part is.

        ``tell``: told (steps done, steps in all) now and then.  Raises MismatchError where its first step,
        taken twice, gives two answers; NonFiniteError.
        """
        if not self.recording.whole:
            self.recording.take(tell)

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
        require_mode(mode)
        self.record()
        targets = Targets.of(meta, each=each, device=self.student.device)
        recording = self.recording
        with self._put_back(recording):
            end = recording.end()
            self._refuse_other_buffers(recording.store.get(0), end, mode)
            said = targets.said(self.student, end, mode)
            kept = None
            if self.folder is not None:
                kept = self.folder / f"back-{_name(targets, str(by_epoch), mode)}.pt"
            values = WayBack(recording, said, by_epoch=by_epoch, kept=kept).go(tell)
        losses = torch.tensor([one.loss for one in said], dtype=torch.float64)
        total = _summed(values)
        single = not each and len(said) == 1
        parts = values if by_epoch else None
        if single:
            return Influence(total[0], losses[0], None if parts is None else parts[0])
        return Influence(total, losses, parts)

    def learn(
        self,
        meta: Meta,
        *,
        valid: Meta | Callable[[Student], float] | None = None,
        rounds: int = 10,
        move: str = "signed",
        size: float = 0.2,
        patience: int = 5,
        restarts: int = 0,
        tell: Tell = silent,
    ) -> Learnt:
        """Weights in [0, 2] that make the loss of ``meta`` at the end of a run like this one small.

        Each round trains from the run's start and goes back through it, about 5 plain runs, and moves all
        weights by ``size`` at most ("signed": all by as much; "adam"); where the loss rose the step is taken
        back and halved.  ``valid``: trusted rows whose loss chooses the best round, or a function that says
        of the student what is to be low; None: every other row of ``meta``, and the rest drive.  Ends where
        that has not fallen for ``patience`` rounds; ``restarts``: how often it then begins again at the best
        weights with steps of half the size.  Leaves the student trained with the weights that it hands out.
        With a folder a learning that was killed goes on.  Raises as ``influence``, KeyError for an unknown
        move.
        """
        self.record()
        asked = Targets.of(meta, each=False, device=self.student.device)
        watching: Targets | Callable[[Student], float]
        if valid is None:
            asked, watching = halved(asked)
        elif callable(valid):
            watching = valid
        else:
            watching = Targets.of(valid, each=False, device=self.student.device)
        start = self.recording.store.get(0)

        def recording_of(weights: Tensor, folder: Path | None) -> Recording:
            start.put(self.student, self.optimizer)
            return self._recording(replace(self.steps, weights=weights), folder, rehearsed=True)

        name = f"learn-{_name(asked, move, str(size))}"
        place = None if self.folder is None else self.folder / name
        learning = Learning(recording_of, asked, watching, moves[move](), size, patience, restarts, place)
        with self._put_back(self.recording):
            learnt = learning.go(self.steps.weights, rounds, tell)
        recording = recording_of(learnt.weights, None)
        recording.take()
        return learnt

    def certify(
        self,
        scores: Scores,
        meta: Meta,
        *,
        each: bool = False,
        subsets: int = 60,
        share: float = 0.05,
        worst: Sequence[float] = (0.05, 0.1),
        jobs: int = 1,
        seed: int = 0,
        mode: Mode = "eval",
        tell: Tell = silent,
    ) -> Certificate:
        """Whether scores of the samples tell what leaving some out does to the loss, by training again.

        ``scores``: an Influence, or a tensor [N], or [Q, N] for Q targets, or several by name; of the same
        sense as an influence, per unit of weight: positive says that the loss falls where the sample weighs
        less.  NaN counts as 0.  ``meta``, ``each``, ``mode``: as for ``influence``.

        ``subsets`` random sets of the ``share`` of the samples that batches had get weight 0, one set a
        retraining, in the same order and with the same random draws, and the change of the loss is held
        against what each score predicts, -sum of weight x score over the set.  Then the shares ``worst`` of
        the highest scores are left out, against 10 random sets of that size, or the subsets where they have
        it.  A layer that looks at the whole batch, BatchNorm, still sees such a sample.

        ``jobs``: so many retrainings at a time, in processes that share the CPU's threads (and may round
        otherwise then).  ``seed``: of the random sets.  ``tell``: told (retrainings done, in all).  With a
        folder each retraining is kept there, so that another call goes on, with other scores or more subsets
        too.  Costs a plain run each; leaves the student at the end of the run.

        Source: Park et al., TRAK (ICML 2023), section 2, linear datamodeling score.  Raises MismatchError
        where the run, trained again as it was, is another one; with ``on_difference="recorded"`` the
        certificate has the noise of that.  ValueError for scores of another shape, and with several jobs for
        what cannot be pickled.
        """
        require_mode(mode)
        require_jobs(jobs)
        plan = Plan(subsets, share, tuple(worst), seed)
        targets = Targets.of(meta, each=each, device=self.student.device)
        read = read_scores(scores, len(self.steps.weights), len(targets))
        self.record()
        recording = self.recording
        start = recording.store.get(0)
        retraining = Retraining(self.student, self.optimizer, recording.steps, start, targets, mode)
        with self._put_back(recording):
            kept = Kept(self.folder, targets, mode)
            return certified(recording, retraining, read, plan, kept, jobs=jobs, tell=tell)

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


def require_mode(mode: str) -> None:
    """Raise ValueError for another one than "eval" and "train"."""
    if mode not in ("eval", "train"):
        raise ValueError(f"mode is 'eval' or 'train', got {mode!r}")


def _refuse(student: Student) -> None:
    refuse_compiled(student)
    refuse_gradient_hooks(student)
    refuse_changed_gradients(student)
    if student.processes.size > 1 or student.sharded is not None:
        raise MetaweightError("a whole run is recorded in one process: start it without torchrun")


def _samples(source: Source, epochs: int) -> int:
    """One more than the largest position in all epochs, which are read for it."""
    places = product(range(epochs), range(len(source)))
    return 1 + max(int(source.batch(epoch, position).index.max()) for epoch, position in places)


def _summed(values: Tensor) -> Tensor:
    """Over epochs; NaN where a sample was in none."""
    return torch.where(values.isnan().all(1), torch.nan, values.nansum(1))


def _name(targets: Targets, *options: str) -> str:
    """Digits of what was asked."""
    parts = [value for batches in targets.sets for batch in batches for value in (batch.index, batch.targets)]
    return digest(*parts, [str(targets.each), str([len(s) for s in targets.sets]), *options])[:12]
