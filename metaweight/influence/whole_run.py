"""A training run that can be asked what each of its samples did to the student at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from metaweight.core.jobs import require_jobs
from metaweight.core.randomness import forked_rng
from metaweight.data.loaders import LoaderBatches, rows_in
from metaweight.engines.inner import as_one
from metaweight.influence.back import WayBack
from metaweight.influence.certificate import Certificate
from metaweight.influence.certifying import Plan, Scores, certified, read_scores
from metaweight.influence.checks import (
    refuse_other_buffers,
    refuse_visits,
    require_mode,
    require_repeatable,
    tell_how_far_off,
)
from metaweight.influence.halves import driving_and_watching
from metaweight.influence.keeping import Keeping, OnDifference, States
from metaweight.influence.learning import Learning, Learnt
from metaweight.influence.recording import Recording, Tell, silent
from metaweight.influence.result import Influence
from metaweight.influence.retraining import Kept, Retraining
from metaweight.influence.smoothness import Smoothness, measured
from metaweight.influence.steps import Steps
from metaweight.influence.subjects import BySample, ByTeacher
from metaweight.influence.taking import AsGiven, Taking
from metaweight.influence.targets import Meta, Mode, Targets
from metaweight.student.student import Student
from metaweight.teachers.base import Teacher
from metaweight.training.history import Source
from metaweight.training.learning_rate import LearningRate


class WholeRun:
    """A run that is recorded, so that gradients pass through all of it.

    ``source``: a DataLoader, read in this process in an order of ``seed``, or batches by (epoch, position),
    whose index counts the samples from 0.  ``optimizer``: one of torch.optim, or several; ``learning_rate``:
    the course over the run that its rate takes.  ``weights`` [N]: of the samples; None: 1 (N is then that of
    the loader's data set, or found by reading all epochs once).  ``max_norm``: gradients are clipped to it.
    ``checkpoints``: which states are kept: "sqrt" (as many as steps between two of them), "all", a number of
    steps, or what they may take together, "2GB".  ``states="bf16"``: those between the first and the last in
    half of float32's bytes; steps taken again begin a rounding away then.  ``folder``: where they are kept,
    so that another process goes on; None: in memory.  ``on_difference``: "stop" where steps taken again do
    not end to the last bit where they ended first, or go on with what is "recorded".  ``low_memory``: back
    in about the memory of training and half more of its time: states between kept ones on the disk, and the
    graph of one block of the student, or of some rows, at a time (teachers that learn need it whole).

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
        states: States = "exact",
        folder: Path | str | None = None,
        on_difference: OnDifference = "stop",
        low_memory: bool = False,
        seed: int = 0,
    ) -> None:
        one, count = as_one(optimizer), None
        if isinstance(source, DataLoader):
            count, source = rows_in(source), LoaderBatches(source, seed=seed, device=student.device)
        with forked_rng(student.device):  # batches may draw
            steps = Steps.of(source, one, epochs, learning_rate, max_norm, weights, count)
        keeping = Keeping(checkpoints, states, on_difference, low_memory)
        self._stand(student, one, steps, AsGiven(), folder, keeping)

    @classmethod
    def opened(
        cls,
        folder: Path | str,
        *,
        checkpoints: str | int = "sqrt",
        states: States = "exact",
        on_difference: OnDifference = "stop",
        low_memory: bool = False,
    ) -> WholeRun:
        """The finished run of ``metaweight train`` in ``folder``, built from its options as it was then.

        It is trained once more, with its teacher where it has one, and each loss held against that of
        steps.jsonl and the end against checkpoint.pt, to the last bit; weights of steps then are constants.
        States lie in the run's folder ``whole``.  ``on_difference="recorded"``: also for runs whose engine
        gave the student's gradient itself; a warning says how far that is off.  Raises FileNotFoundError
        and ValueError for what is no finished run, or for other data or options; MetaweightError for what
        cannot be gone back through: several processes, relabelled, unrolled, compiled, remedies;
        CheckpointError.
        """
        from metaweight.influence.opening import Opened  # tasks bring pandas and the like

        keeping = Keeping(checkpoints, states, on_difference, low_memory)
        run, opened = cls.__new__(cls), Opened.of(folder)
        live = opened.trainer.reweighter.live
        run._stand(live.student, live.optimizer, opened.steps(), opened, opened.folder, keeping)
        return run

    def _stand(
        self,
        student: Student,
        optimizer: Optimizer,
        steps: Steps,
        taking: Taking,
        folder: Path | str | None,
        keeping: Keeping,
    ) -> None:
        """Check all parts and be ready to record."""
        require_repeatable(student, optimizer, steps)
        self.student, self.optimizer, self.source, self.steps = student, optimizer, steps.source, steps
        self.folder, self.taking = None if folder is None else Path(folder), taking
        self._recording = partial(Recording, student, optimizer, keeping=keeping)
        self.recording = self._recording(steps, folder=self.folder)

    def _anew(self, steps: Steps, folder: Path | None = None) -> Recording:
        """The run from its start, weighed otherwise, not yet taken."""
        self.recording.store.get(0).put(self.student, self.optimizer)
        return self._recording(steps, folder=folder, rehearsed=True)

    def record(self, tell: Tell = silent) -> None:
        """Train the student to the end of the run, or put it there where that is done.

        ``tell``: told (steps done, in all).  Raises MismatchError where its first step has two answers.
        """
        with self._put_back() if self.recording.whole else self.taking.setting():
            if not self.recording.whole:
                self.taking.take(self.recording, tell)

    def rows(self, of: str = "meta") -> Source:
        """Batches of an opened run's own rows, to ask about: ``meta``, ``valid``, ``test``, and ``train``,
        each training row once, as it is.  Raises ValueError where it has none, or was given as objects.
        """
        return self.taking.rows(of)

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
        where that is to do.  Costs about 4 plain runs for one loss, 2 for each further one; leaves the
        student at the run's end.  Raises MismatchError where the run, taken again, is another one;
        EngineError for an operator without a second derivative.
        """
        require_mode(mode)
        self.record()
        targets = Targets.of(meta, each=each, device=self.student.device)
        with self._put_back():
            refuse_other_buffers(self.student, self.recording)
            said = targets.said(self.student, self.recording.end(), mode)
            losses = torch.tensor([one.loss for one in said], dtype=torch.float64)
            kept = self.folder and self.folder / f"back-{targets.name(str(by_epoch), mode)}.pt"
            way = WayBack(self.recording, said, by_epoch=by_epoch, kept=kept)
            del said  # a gradient each
            values = way.go(tell)
        tell_how_far_off(self.recording)
        return Influence.of(values, losses, single=not each and len(losses) == 1, by_epoch=by_epoch)

    def learn(
        self,
        meta: Meta,
        *,
        valid: Meta | Callable[[Student], float] | None = None,
        wrt: Teacher | None = None,
        rounds: int = 10,
        move: str | None = None,
        size: float | None = None,
        patience: int = 5,
        restarts: int = 0,
        tell: Tell = silent,
    ) -> Learnt:
        """Weights that make the loss of ``meta`` at the end of a run like this one small.

        One in [0, 2] for each sample; or the parameters of a teacher, ``wrt``, so that rows which look alike
        to it weigh alike.  Before each step it looks at the rows of ``meta`` that drive, constants then, and
        remembers nothing else; it ends with what it has learnt.

        Each round trains from the run's start, goes back through it, about 5 plain runs, and moves what is
        learnt by ``size`` at most: "signed" by as much (0.2 unless said otherwise), or "adam" (of teachers,
        0.02); where the loss rose the step is taken back and halved.  ``valid``: trusted rows whose loss
        chooses the best round, or a function that says of the student what is to be low; None: every other
        row of ``meta``, and the rest drive.  Ends where that has not fallen for ``patience`` rounds; before
        that goes on ``restarts`` times from the best by half the ``size``.  Leaves the student trained with
        what it hands out; with a folder a killed learning goes on.  Raises as ``influence``, KeyError for an
        unknown move, MetaweightError for a teacher that cannot learn so.
        """
        if wrt is None:
            refuse_visits(self.steps, "learns")
        rows = driving_and_watching(meta, valid, self.student.device)
        subject = BySample(self.steps) if wrt is None else ByTeacher(self.steps, wrt, rows[0].sets[0])
        learning = Learning.of(subject, self._anew, rows, move, size, patience, restarts, self.folder)
        self.record()
        with self._put_back():
            learning.go(self.recording if wrt is None else None, rounds, tell)
        with self.taking.setting():
            return learning.learnt(rounds)

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

        ``scores``: an Influence, or a tensor [N], or [Q, N] for Q targets, or several by name; per unit of
        weight, as an influence: positive says that the loss falls where the sample weighs less.  NaN counts
        as 0.  ``meta``, ``each``, ``mode``: as for ``influence``.

        ``subsets`` random sets of the ``share`` of the samples that batches had get weight 0, one set a
        retraining, in the same order and with the same random draws, and the change of the loss is held
        against what each score predicts, -sum of weight x score over the set.  Then the shares ``worst`` of
        the highest scores are left out, against 10 random sets of that size, or the subsets where they have
        it.  A layer that looks at the whole batch, BatchNorm, still sees such a sample.

        ``jobs``: so many retrainings at a time, in processes that share the CPU's threads (and may round
        otherwise then).  ``seed``: of the random sets.  ``tell``: told (retrainings done, in all).  With a
        folder another call goes on, with other scores or more subsets too.  Costs a plain run each; leaves
        the student at the end of the run.

        Source: Park et al., TRAK (ICML 2023), section 2, linear datamodeling score.  Raises MismatchError
        where the run, trained again as it was, is another one; with ``on_difference="recorded"`` the
        certificate has the noise of that.  ValueError for scores of another shape, and with several jobs for
        what cannot be pickled.
        """
        require_mode(mode)
        refuse_visits(self.steps, "certifies")
        require_jobs(jobs)
        plan = Plan(subsets, share, tuple(worst), seed)
        targets = Targets.of(meta, each=each, device=self.student.device)
        read = read_scores(scores, len(self.steps.weights), len(targets))
        self.record()
        start = self.recording.store.get(0)
        retraining = Retraining(self.student, self.optimizer, self.steps, start, targets, mode)
        with self._put_back():
            kept = Kept(self.folder, targets, mode)
            return certified(self.recording, retraining, read, plan, kept, jobs=jobs, tell=tell)

    def smoothness(
        self, meta: Meta, *, step: float = 0.01, directions: int = 2, seed: int = 0, tell: Tell = silent
    ) -> Smoothness:
        """How far the influence on the loss of ``meta`` can be trusted: how it changes, and how well it says
        the loss, where all weights are ``step`` of themselves off, up or down at random.

        About 4 plain runs, and 6 for each of ``directions``.  Leaves the student as ``influence`` does, and
        raises as that.
        """
        refuse_visits(self.steps, "moves")
        gradient = self.influence(meta, tell=tell).values
        targets = Targets.of(meta, each=False, device=self.student.device)
        with self._put_back():
            return measured(self._anew, self.steps, gradient, targets, step, directions, seed)

    @contextmanager
    def _put_back(self) -> Iterator[None]:
        """Under the run's own setting; student and optimizer stand at its end afterwards, gradients gone."""
        with self.taking.setting(), forked_rng(self.student.device):
            try:
                yield
            finally:
                self.recording.end().put(self.student, self.optimizer)
                self.steps.rates.set(len(self.steps) - 1)
                self.student.module.zero_grad()
