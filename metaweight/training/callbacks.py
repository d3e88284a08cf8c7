"""The seam through which outside code watches a run, and the two watchers that every run has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from metaweight.core.contracts import Batch, StepReport
from metaweight.core.processes import ALONE, Processes
from metaweight.core.weights import group_means, mean_after
from metaweight.reweighter import Reweighter
from metaweight.training.checkpoint import CheckpointError
from metaweight.training.epoch_file import BY_EPOCH, EpochFile, Filed
from metaweight.training.run_folder import RunFolder


class Run(Protocol):
    """What a callback may read of the Trainer."""

    reweighter: Reweighter
    epoch: int
    """Epochs done."""
    epochs: int
    seconds: float
    """Of training, evaluation left out."""

    @property
    def best_epoch(self) -> int | None:
        """By the figure that the Trainer monitors, so far; None before its first evaluation."""
        ...

    @property
    def done(self) -> float:
        """Epochs done, the one at hand in part."""
        ...


class Callback:
    """A seam for outside code; every method does nothing by default."""

    kept_once: bool = False
    """Whether of several processes the first alone keeps it: a run that goes on gives the others ``{}``."""

    def on_start(self, run: Run) -> None:
        """Before the first (or first resumed) iteration."""

    def on_step(self, run: Run, batch: Batch, report: StepReport) -> None:
        """After each iteration; ``batch`` is the last one of a window, ``report`` tells of all."""

    def on_epoch(self, run: Run, row: Mapping[str, float]) -> None:
        """After each epoch's evaluation, before its checkpoint."""

    def on_end(self, run: Run) -> None:
        """After the last epoch."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of this callback."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""


class KeptOnce(Callback):
    """A callback whose tables the first of several ``processes`` alone keeps: ``keeps`` says whether here."""

    def __init__(self, processes: Processes) -> None:
        self.kept_once, self.keeps = processes.size > 1, processes.rank == 0

    def table(self, value: float, *shape: int) -> Tensor:
        """A table [*shape] full of ``value``; one that takes no memory where it is not kept."""
        full = torch.full((), value).expand(shape)
        return full.clone() if self.keeps else full


class Throughput(Callback):
    """Targets (images, tokens) that a run trains on in a second, since it was started or resumed."""

    def __init__(self) -> None:
        self._size = self.before = self.seconds = 0.0
        self._last: StepReport | None = None
        """Not counted yet: its numbers are there after the next iteration, at no wait for the device."""

    def on_start(self, run: Run) -> None:
        self._size, self.before, self.seconds, self._last = 0.0, run.seconds, 0.0, None

    def on_step(self, run: Run, batch: Batch, report: StepReport) -> None:
        self._count()
        self._last, self.seconds = report, run.seconds - self.before

    def _count(self) -> None:
        if self._last is not None:
            self._size += self._last.stats["size"]
            self._last = None

    @property
    def size(self) -> float:
        """Targets so far."""
        self._count()
        return self._size

    @property
    def rate(self) -> float:
        """Targets a second; 0 before the first step."""
        return self.size / self.seconds if self.seconds else 0.0


TOGETHER = 64
"""Steps whose weights are fetched from the device at once."""


class WeightHistory(KeptOnce):
    """Keeps each sample's weight and loss of every epoch, by its position in the data set.

    ``warmup``: the first epochs, in which the teacher has no say.  ``processes``: those of which the first
    alone keeps them, in the others every sample stays one that was never seen, and takes no memory.
    With a ``folder``, which no other history may have, an epoch that is over moves into a file there (see
    EpochFile): memory and checkpoints hold the one at hand alone.  ``filed``: another place for them.
    """

    def __init__(
        self,
        samples: int,
        epochs: int,
        warmup: int = 0,
        *,
        processes: Processes = ALONE,
        folder: RunFolder | None = None,
        filed: Filed | None = None,
    ) -> None:
        super().__init__(processes)
        self.warmup, self.shape = warmup, (epochs, samples)
        self._file = filed
        if folder is not None and self.keeps:
            self._file = EpochFile(folder.path / BY_EPOCH, samples)
        self._table = self.table(math.nan, epochs if self._file is None else 1, 2, samples)
        """Weights and losses of the epochs that are in no file."""
        self._left_out = torch.empty(0, dtype=torch.int64)
        self._steps: list[tuple[int, Tensor, Tensor]] = []
        """Epoch, index [U], weights and losses [2, U], where they were made."""

    def make_room(self, epochs: int) -> None:
        """For the weights of so many epochs, where it was not known how many there are."""
        known, samples = self.shape
        if epochs <= known:
            return
        self.shape = epochs, samples
        if self._file is None:
            before, self._table = self._table, self.table(math.nan, epochs, 2, samples)
            if self.keeps:
                self._table[:known] = before

    @property
    def weights(self) -> Tensor:
        """[epochs, samples], NaN where a sample was not seen."""
        weights = self._all()[:, 0]
        if self.keeps:
            weights[:, self._left_out] = 0
        return weights

    @property
    def loss(self) -> Tensor:
        """[epochs, samples], as ``weights``."""
        return self._all()[:, 1]

    def _all(self) -> Tensor:
        """[epochs, 2, samples]"""
        self._take()
        if self._file is None:
            return self._table
        filed, epochs = self._file.read(), self.shape[0]
        if len(filed) == epochs:
            return filed
        rest = torch.full((), math.nan).expand(epochs - len(filed) - 1, *self._table.shape[1:])
        return torch.cat([filed, self._table, rest])

    def on_step(self, run: Run, batch: Batch, report: StepReport) -> None:
        if not self.keeps:
            return
        values = torch.stack([report.weights, report.losses]).float()
        self._steps.append((run.epoch, report.index, values))
        if len(self._steps) >= TOGETHER:
            self._take()

    def on_epoch(self, run: Run, row: Mapping[str, float]) -> None:
        self._take()
        self._file_until(run.epoch)

    def _take(self) -> None:
        """What steps have left, fetched from the device at once."""
        if not self._steps:
            return
        steps, self._steps = self._steps, []
        sizes = [len(index) for _, index, _ in steps]
        indices = torch.cat([index for _, index, _ in steps]).cpu().split(sizes)
        values = torch.cat([each for _, _, each in steps], dim=1).cpu().split(sizes, dim=1)
        for (epoch, _, _), index, both in zip(steps, indices, values, strict=True):
            samples, place = index.unique(return_inverse=True)
            table = self._table[epoch - self._file_until(epoch)]
            for kept, each in zip(table, both, strict=True):
                # the tokens of a sentence share its row: their mean is kept
                kept[samples] = group_means(each, place, len(samples))

    def _file_until(self, epoch: int) -> int:
        """Move what is of earlier epochs than this one into the file; gives the first that is in none."""
        if self._file is None:
            return 0
        while len(self._file.digests) < epoch:
            self._file.append(self._table[0])
            self._table.fill_(math.nan)
        return epoch

    def leave_out(self, samples: Tensor) -> None:
        """Give the samples at these positions [n] the weight 0 in every epoch: they are not trained on."""
        self._left_out = samples

    def mean_weight(self) -> Tensor:
        """Mean weight of each sample [N] after the warm-up (see mean_after); NaN where never seen."""
        return self._mean(self.weights)

    def mean_loss(self) -> Tensor:
        """Mean loss of each sample [N], as its mean weight."""
        return self._mean(self.loss)

    def _mean(self, values: Tensor) -> Tensor:
        return mean_after(values, self.warmup) if self.keeps else values[0]

    def state_dict(self) -> dict[str, Any]:
        if self._file is None:
            return {"weights": self.weights, "loss": self.loss}
        self._take()
        begun = None if bool(self._table.isnan().all()) else self._table[0]
        return {"filed": list(self._file.digests), "begun": begun}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if not self.keeps:
            return
        if "filed" not in state:
            self._take_up(torch.stack([state["weights"], state["loss"]], dim=1))
        elif self._file is None:
            raise CheckpointError(
                f"this checkpoint is of a run whose weights lie in {BY_EPOCH} beside it: give its history "
                "the folder, WeightHistory(..., folder=folder)"
            )
        else:
            beside = state.get("file")
            self._file.take_up(state["filed"], None if beside is None else Path(beside))
            self._table.fill_(math.nan)
            if state["begun"] is not None:
                self._table[0] = state["begun"]

    def _take_up(self, table: Tensor) -> None:
        """All epochs [epochs, 2, samples] of a checkpoint without a file."""
        if self._file is None:
            self._table[: len(table)] = table
            self._table[len(table) :] = math.nan
            return
        self._file.take_up(())
        seen = table.isfinite().any(dim=2).any(dim=1).nonzero()
        for epoch in range(int(seen.max()) + 1 if len(seen) else 0):
            self._file_until(epoch)
            self._table[0] = table[epoch]


class AttentionHistory(Callback):
    """Keeps the share of attention on each tapped layer, averaged over each epoch's last batch."""

    def __init__(self) -> None:
        self.layers: tuple[str, ...] = ()
        self.shares: list[list[float]] = []

    def on_epoch(self, run: Run, row: Mapping[str, float]) -> None:
        shares = run.reweighter.teacher.last_attention()
        if shares:
            self.layers = tuple(shares)
            self.shares.append(list(shares.values()))

    def state_dict(self) -> dict[str, Any]:
        return {"layers": list(self.layers), "shares": self.shares}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.layers = tuple(state["layers"])
        self.shares = [list(row) for row in state["shares"]]
