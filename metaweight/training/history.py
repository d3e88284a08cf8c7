"""What a training run reads and leaves behind: batches in, one row of figures for each epoch out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from metaweight.core.contracts import Batch, MetaweightError
from metaweight.core.processes import Processes
from metaweight.data.epochs import Epochs


class Source(Protocol):
    """Batches as a pure function of (epoch, position), so that a resumed run sees the same ones."""

    def __len__(self) -> int:
        """Batches an epoch."""
        ...

    def batch(self, epoch: int, position: int) -> Batch:
        """The ``position``-th batch of an epoch."""
        ...


def own_part(source: Source, epoch: int, position: int, processes: Processes) -> Batch:
    """Of a batch this process's part (``Batch.part``); a loader that can reads no other rows."""
    if processes.size == 1:
        return source.batch(epoch, position)
    if isinstance(source, Epochs):
        return source.part(epoch, position, processes.rank, processes.size)
    return source.batch(epoch, position).part(processes.rank, processes.size)


class Interrupted(MetaweightError):
    """The user stopped the run; its checkpoint is written."""


@dataclass
class History:
    """What a run has shown so far."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    """One row an epoch: epoch, step, seconds, train_loss, and SPLIT_FIGURE where evaluated."""
    best_epoch: int | None = None
    """By the figure that the Trainer monitors; its first epoch where several are equal."""
    stopped_early: bool = False

    def row(self, epoch: int | None = None) -> Mapping[str, float]:
        """What was measured in ``epoch``, from 1; None: in the last one."""
        return self.epochs[-1 if epoch is None else epoch - 1]


def check_epochs(epochs: int, warmup_epochs: int, evaluate_every: int) -> None:
    """Raise ValueError for numbers of epochs that leave none to train, to teach or to evaluate in."""
    if epochs < 1 or warmup_epochs < 0 or evaluate_every < 1:
        raise ValueError(
            "epochs and evaluate_every are 1 or more, warmup_epochs 0 or more, "
            f"got {epochs}, {evaluate_every} and {warmup_epochs}"
        )
    if warmup_epochs >= epochs:
        raise ValueError(
            f"warmup_epochs={warmup_epochs} of {epochs} epochs leave none for the teacher: "
            "give fewer warm-up epochs, or more epochs"
        )
