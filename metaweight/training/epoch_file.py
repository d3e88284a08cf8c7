"""weights_by_epoch.bin: weights and losses of all samples, appended at the end of each epoch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metaweight.core.atomic import writing
from metaweight.core.digest import digest
from metaweight.training.checkpoint import CheckpointError


class EpochFile:
    """Epochs [2, samples] float32, one behind the other, at ``path``; what a stop left behind them is none.

    A checkpoint holds ``digests`` alone; ``take_up`` goes on from there.
    """

    def __init__(self, path: Path, samples: int) -> None:
        self.path, self.samples = path, samples
        self.digests: list[str] = []
        """Of the epochs so far."""

    def append(self, epoch: Tensor) -> None:
        """Write weights and losses [2, samples], on disk when it returns.  Raises WriteError."""
        content = epoch.numpy().data
        size = len(self.digests) * content.nbytes
        with writing(self.path):
            self._append(content, size)
        self.digests.append(digest(epoch))

    def _append(self, content: memoryview, size: int) -> None:
        if size == 0:  # the file of an earlier run may be mapped, and would be cut short under who reads it
            self.path.unlink(missing_ok=True)
        with self.path.open("ab") as file:
            if file.tell() < size:
                raise OSError("epochs before this one have gone from it")
            file.truncate(size)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> Tensor:
        """[epochs so far, 2, samples], mapped: what is not looked at takes no memory, changes stay there."""
        shape = len(self.digests), 2, self.samples
        if not self.digests:
            return torch.empty(shape)
        return torch.from_numpy(np.memmap(self.path, np.float32, "c", shape=shape))

    def take_up(self, digests: Sequence[str]) -> None:
        """Go on behind the epochs of these digests.  Raises CheckpointError where they are not there."""
        before, self.digests = self.digests, list(digests)
        try:
            fits = [digest(epoch) for epoch in self.read()] == self.digests
        except (OSError, ValueError):  # absent, or shorter
            fits = False
        if not fits:
            self.digests = before
            raise CheckpointError(
                f"{self.path} has not the {len(digests)} epochs that the checkpoint beside it goes on from: "
                "put a copy of it back, or delete the checkpoint, and the run starts over"
            )
