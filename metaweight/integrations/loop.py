"""A training loop of the user's own, whose DataLoader gives weights beside inputs and targets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.utils.data import DataLoader, DistributedSampler

from metaweight.core.batch import Batch, require_batch
from metaweight.core.errors import MetaweightError
from metaweight.core.modes import evaluating
from metaweight.core.processes import ALONE, Processes
from metaweight.core.shards import is_sharded
from metaweight.data.loaders import as_source, numbered, reading, rows_in
from metaweight.data.overlap import check_views
from metaweight.engines.base import Engine
from metaweight.integrations.last_hidden import described
from metaweight.integrations.plan import Plan
from metaweight.integrations.trusted import with_positions
from metaweight.integrations.weighed import Weighed
from metaweight.integrations.weighing import Weighing
from metaweight.student import Student
from metaweight.student.losses import UnitLoss, cross_entropy
from metaweight.teachers import Teacher

if TYPE_CHECKING:
    from pandas import DataFrame

    from metaweight.data.epochs import Epochs


class Loop(Weighed):
    """``train``, a DataLoader of (inputs, targets), with the weight of each row.  Each iteration is an epoch.

    Example::

        loop = metaweight.Loop(module, optimizer, train_loader, trusted_loader)
        for epoch in range(10):
            for x, y, weights in loop:  # before: for x, y in train_loader
                losses = torch.nn.functional.cross_entropy(module(x), y, reduction="none")
                optimizer.zero_grad()
                (weights * losses).mean().backward()
                optimizer.step()
        loop.suspects(), loop.report("page.html")

    The batches are the loader's, on the module's device; a mapping comes without its targets, several inputs
    as a tuple.  When a batch comes the teacher has learnt from the trusted rows, and the student is as it
    was: the step, with clipping, schedulers and what you like, is yours.

    ``module``: a module, into which the teacher looks at the last hidden layer, as far as it is found, or a
    Student with a loss and taps of its own.  ``loss``: that of your loop, row by row, one of ``losses``;
    None: cross-entropy.
    ``trusted``: a DataLoader, or a data set, of rows that are surely right and none of ``train``; None for a
    teacher that learns nothing.  ``teacher``: a name, a Teacher, a class, or "auto" (``Plan``).  The first
    ``warmup_epochs`` are plain, weights 1.
    ``epochs``: how many you run, for teachers that want to know how far they are.  ``micro_batches``: batches
    of a step of yours, where they are several.  ``max_norm``: to which you clip the gradient.  ``scaler``:
    your GradScaler.  ``folder``: of this run's files (``state_dict``), and of no other's; None: a new one
    among the temporary files.

    In several processes, with the module in DistributedDataParallel (or ``fully_shard``) and a
    DistributedSampler for ``train``, or another that gives each as many batches, the loop is that of one
    process on the joined batches: all have the weights of all rows, and the first one writes.  ``trusted`` is
    the same in all, and each takes its part of every batch.  Those of a data set are as large as the joined
    ones of ``train``; a loader's have its ``batch_size``, with a DistributedSampler so many rows for each
    process.

    Raises TypeError for a stream, and for a loss beside a Student's; ValueError for rows that are in both;
    MetaweightError for a module that nothing keeps alike in several processes.
    """

    _begins = "`for x, y, weights in loop`"

    def __init__(
        self,
        module: nn.Module | Student,
        optimizer: Optimizer | Sequence[Optimizer],
        train: DataLoader[Any],
        trusted: Any = None,
        *,
        loss: UnitLoss | None = None,
        teacher: str | Teacher | type[Teacher] = "auto",
        warmup_epochs: int = 0,
        epochs: int | None = None,
        engine: str | Engine = "auto",
        schedule: str = "lookahead",
        teacher_options: Mapping[str, Any] | None = None,
        teacher_learning_rate: float = 1e-3,
        micro_batches: int = 1,
        max_norm: float | None = None,
        scaler: Any = None,
        reweighter_options: Mapping[str, Any] | None = None,
        folder: Path | str | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(train, DataLoader):
            raise TypeError(f"train is a DataLoader of (inputs, targets), got a {type(train).__name__}")
        if loss is not None and isinstance(module, Student):
            raise TypeError("a Student has its loss already: Student(module, loss)")
        self._given, self._loss = module, loss or cross_entropy
        self._processes = _processes_of(module)
        self._module = module.module if isinstance(module, Student) else module
        self._optimizer, self._train, self._samples = optimizer, train, rows_in(train)
        self._trusted = None if trusted is None else self._trusted_rows(trusted, seed)
        self._warmup, self._epochs = warmup_epochs, epochs
        self._parts, self._max_norm, self._scaler = micro_batches, max_norm, scaler
        options = teacher_options or {}, teacher_learning_rate, engine, schedule, reweighter_options or {}
        self._plan = Plan(teacher, *options, seed)
        self._place = self._own = None if folder is None else Path(folder)
        self._weighing: Weighing | None = None
        self._begun = 0
        """Epochs begun."""
        self._resumed: Mapping[str, Any] | None = None
        self._looked = -1
        """Batches weighed when the student was last asked about all rows."""

    def _trusted_rows(self, trusted: Any, seed: int) -> Epochs:
        if not isinstance(trusted, DataLoader):
            size = (self._train.batch_size or 64) * self._processes
            rows, collate_fn = with_positions(trusted, "trusted"), self._train.collate_fn
            trusted = DataLoader(rows, batch_size=size, shuffle=True, collate_fn=collate_fn)
        check_views(self._train, trusted)
        batches: Epochs = as_source(_joined(trusted), seed=seed, cycled=True)
        return batches

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._train)

    def __iter__(self) -> Iterator[tuple[Any, Tensor, Tensor]]:
        """The next epoch: inputs, targets and weights [U] of each batch."""
        epoch, self._begun = self._begun, self._begun + 1
        for given in numbered(self._train):
            batch = require_batch(given).to(next(self._module.parameters()).device)
            if self._weighing is None:
                self._weighing = self._started(batch)
            scale = 1.0 if self._scaler is None else self._scaler.get_scale()
            weights = self._weighing.weigh(batch, epoch, share=1 / self._parts, loss_scale=scale)
            yield _as_given(batch), batch.targets, weights

    def _started(self, batch: Batch) -> Weighing:
        weighing = self._plan.weighing(
            described(self._given, batch, self._loss),
            self._optimizer,
            batch,
            self._trusted,
            samples=self._samples,
            total_steps=None if self._epochs is None else self._epochs * len(self),
            max_norm=self._max_norm,
            warmup=self._warmup,
            folder=self._own,
        )
        if self._resumed is not None:
            weighing.load_state_dict(self._resumed)
        return weighing

    def suspects(self) -> DataFrame:
        """The rows that were seen, the most suspect first: index, given and suggested label where each has
        one, mean_weight, loss, is_suspect.  The student is asked about every row once, a sharded one in all
        processes."""
        self._look()
        return super().suspects()

    def report(self, path: Path | str = "page.html") -> Path:
        if self.weighing.leads or self.weighing.reweighter.student.sharded is not None:
            self._look()
        return super().report(path)

    def _look(self) -> None:
        """Ask the student, as it is now, what it says of the training rows."""
        weighing, train = self.weighing, self._train
        student = weighing.reweighter.student
        if self._looked == weighing.reweighter.windows:
            return
        plain = _like(train, batch_size=train.batch_size or 64)
        with evaluating(student.module):
            for batch in as_source(plain).epoch(0):
                forward = student.glance(batch.to(student.device), plain=False)
                weighing.answers.see(replace(forward, processes=ALONE))  # any process may ask by itself
        self._looked = weighing.reweighter.windows

    def _folder(self) -> Path:
        if self._place is None:
            self._place = Path(tempfile.mkdtemp(prefix="metaweight-"))
        return self._place

    def state_dict(self) -> dict[str, Any]:
        """For your checkpoints, beside module and optimizer; raises MetaweightError before the first step.

        With ``folder=`` the weights of epochs that are over lie in ``weights_by_epoch.bin`` there, and the
        state is as large after many epochs as after one: keep the file with it.  Without, the state has all.
        """
        return {"epochs": self._begun, **self.weighing.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict()`` of the end of an epoch, module and optimizer being where they were.

        The file of its epochs is looked for in ``folder``, then where it was; the first batch raises
        CheckpointError, in all processes, where it is in neither or is another.  From then on the file is
        this run's: states of later epochs that you left behind no longer go with it, so go back in a copy of
        the folder if you want to keep them.
        """
        self._begun, self._resumed, self._weighing = int(state["epochs"]), state, None


def _processes_of(module: nn.Module | Student) -> int:
    """How many train it together; raises MetaweightError where their steps would make it another in each."""
    if isinstance(module, Student):
        return module.processes.size
    if isinstance(module, DistributedDataParallel):
        return Processes.at_hand(module.process_group).size
    processes = Processes.at_hand().size
    if processes > 1 and not any(map(is_sharded, module.parameters())):
        raise MetaweightError(
            f"a group of {processes} processes is up, and each would take steps of its own with this module: "
            "give Loop, and call, DistributedDataParallel(module); or give Student(module) where your loop "
            "takes the mean of the gradients itself"
        )
    return processes


def _joined(loader: DataLoader[Any]) -> DataLoader[Any]:
    """The loader of all processes' batches together, where a DistributedSampler gives each its share."""
    sampler = loader.sampler
    if not isinstance(sampler, DistributedSampler) or loader.batch_size is None:
        return loader
    size = loader.batch_size * sampler.num_replicas
    return _like(loader, batch_size=size, shuffle=sampler.shuffle, drop_last=loader.drop_last)


def _like(loader: DataLoader[Any], **order: Any) -> DataLoader[Any]:
    """The same rows in another ``order``, collated and read by workers as in ``loader``."""
    options = {**reading(loader), **order}
    return DataLoader(loader.dataset, collate_fn=loader.collate_fn, num_workers=loader.num_workers, **options)


def _as_given(batch: Batch) -> Any:
    """What a loader's user had for inputs: one, several, or by name."""
    if batch.kwargs:
        return batch.kwargs
    return batch.args[0] if len(batch.args) == 1 else batch.args
