"""Weights of the epochs that are over, of a loop whose processes all have them: one file, written once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from metaweight.core.digest import digest
from metaweight.core.processes import Processes
from metaweight.training.epoch_file import BY_EPOCH, EpochFile


class HeldEpochs:
    """What EpochFile has in a file, in memory."""

    def __init__(self, samples: int) -> None:
        self.samples, self.digests = samples, list[str]()
        self._epochs: list[Tensor] = []

    def append(self, epoch: Tensor) -> None:
        self._epochs.append(epoch.clone())
        self.digests.append(digest(epoch))

    def read(self) -> Tensor:
        return torch.stack(self._epochs) if self._epochs else torch.empty(0, 2, self.samples)

    def leave(self, folder: Path) -> None:
        file = EpochFile(folder / BY_EPOCH, self.samples)
        if not self._epochs:  # one of before goes
            file.path.unlink(missing_ok=True)
        for epoch in self._epochs:
            file.append(epoch)


class SharedEpochs:
    """Epochs [2, samples] in ``folder``: the first process has them in an EpochFile, the others in memory.

    So each can be asked without another one, and a checkpoint of each holds digests.
    """

    def __init__(self, folder: Path, samples: int, processes: Processes) -> None:
        self.path, self._samples, self._processes = folder.absolute() / BY_EPOCH, samples, processes
        first = processes.rank == 0
        self._epochs: EpochFile | HeldEpochs = EpochFile(self.path, samples) if first else HeldEpochs(samples)

    @property
    def digests(self) -> Sequence[str]:
        """Of the epochs so far."""
        return self._epochs.digests

    def append(self, epoch: Tensor) -> None:
        """Raises WriteError in the first process."""
        self._epochs.append(epoch)

    def read(self) -> Tensor:
        """[epochs so far, 2, samples]"""
        return self._epochs.read()

    def leave(self, folder: Path) -> None:
        """See EpochFile; the others write the file anew, for a checkpoint on a disk of their own."""
        self._epochs.leave(folder)

    def take_up(self, digests: Sequence[str], beside: Path | None = None) -> None:
        """See Filed: the first process looks and tells the others, what it refuses all refuse.

        All processes call it.
        """
        mine: list[Tensor] = []

        def found() -> int:
            file = EpochFile(self.path, self._samples)
            file.take_up(digests, beside)
            mine.append(file.read())
            self._epochs = file
            return len(digests)

        count = self._processes.from_first(found)
        if self._processes.rank > 0:
            self._epochs = HeldEpochs(self._samples)
        if self._processes.size == 1:
            return
        for number in range(count):
            epoch = self._processes.from_first(partial(_picked, mine, number))
            if self._processes.rank > 0:
                self._epochs.append(epoch)


def _picked(mine: Sequence[Tensor], number: int) -> Tensor:
    """Epoch ``number`` [2, samples] of those that the first process has read."""
    return mine[0][number].clone()
