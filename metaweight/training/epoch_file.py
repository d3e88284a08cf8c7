"""weights_by_epoch.bin: weights and losses of all samples, appended at the end of each epoch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from metaweight.core.atomic import whole_file, writing
from metaweight.core.digest import digest
from metaweight.training.checkpoint import CheckpointError

BY_EPOCH = "weights_by_epoch.bin"
"""In a run's folder; weights.npz has the same once the run has ended."""
ROOM = 1 << 24
"""Bytes that are copied at a time."""


class Filed(Protocol):
    """Where epochs [2, samples] lie that are over."""

    @property
    def digests(self) -> Sequence[str]:
        """Of the epochs so far: what a checkpoint holds of them."""
        ...

    def append(self, epoch: Tensor) -> None:
        """Take weights and losses [2, samples] behind the others."""
        ...

    def read(self) -> Tensor:
        """[epochs so far, 2, samples]"""
        ...

    def take_up(self, digests: Sequence[str], beside: Path | None = None) -> None:
        """Go on behind the epochs of these digests, copied from the file ``beside`` where they lie there
        alone.  Raises CheckpointError where they lie nowhere."""
        ...


class EpochFile:
    """Epochs [2, samples] float32, one behind the other, at ``path``; what a stop left behind them is none.

    A checkpoint holds ``digests`` alone; ``take_up`` goes on from there.  The file is never cut short by an
    epoch: who has read it, or has it under another name (``leave``), keeps what there was.
    """

    def __init__(self, path: Path, samples: int) -> None:
        self.path, self.samples = path, samples
        self.digests: list[str] = []
        """Of the epochs so far."""

    @property
    def size(self) -> int:
        """Bytes of the epochs so far."""
        return len(self.digests) * self._epoch

    @property
    def _epoch(self) -> int:
        return 2 * self.samples * np.dtype(np.float32).itemsize

    def append(self, epoch: Tensor) -> None:
        """Write weights and losses [2, samples], on disk when it returns.

        Raises WriteError, also where the epochs before are there no more.
        """
        with writing(self.path):
            self._prepare()
            with self.path.open("ab") as file:
                file.truncate(self.size)
                file.write(epoch.numpy().data)
                file.flush()
                os.fsync(file.fileno())
        self.digests.append(digest(epoch))

    def _prepare(self) -> None:
        """Leave to others what they have of a file that is not, or not to its end, of this run."""
        if not self.digests:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)
            return
        if not self._lasts():
            raise OSError("epochs before this one have gone from it; give each run a folder of its own")
        if self.path.stat().st_size >= self.size + self._epoch:
            _copy(self.path, self.size, self.path)

    def _lasts(self) -> bool:
        """Whether the last epoch is where it was written: no other run has begun the file anew."""
        return self._fits(self.path, self.digests, first=max(len(self.digests) - 1, 0))

    def _fits(self, path: Path, digests: Sequence[str], first: int = 0) -> bool:
        """Whether the epochs of these digests, from the ``first`` on, lie at ``path``."""
        try:
            there = self._mapped(path, len(digests), first)
            return [digest(epoch) for epoch in there] == list(digests[first:])
        except (OSError, ValueError):  # absent, or shorter
            return False

    def _mapped(self, path: Path, epochs: int, first: int = 0) -> Tensor:
        shape = epochs - first, 2, self.samples
        if not shape[0]:
            return torch.empty(shape)
        return torch.from_numpy(np.memmap(path, np.float32, "c", offset=first * self._epoch, shape=shape))

    def read(self) -> Tensor:
        """[epochs so far, 2, samples], mapped: what is not looked at takes no memory, changes stay there.

        Raises CheckpointError where they are there no more.
        """
        if not self._lasts():
            raise CheckpointError(
                f"{self.path} has no more the {len(self.digests)} epochs of this run: give each run a folder "
                "of its own, and let the file lie until the run has ended"
            )
        return self._mapped(self.path, len(self.digests))

    def take_up(self, digests: Sequence[str], beside: Path | None = None) -> None:
        """See Filed.  A refusal changes nothing."""
        found = next((path for path in (self.path, beside) if path and self._fits(path, digests)), None)
        if digests and found is None:
            others = "" if beside in (None, self.path) else f", nor has {beside}"
            raise CheckpointError(
                f"{self.path} has not the {len(digests)} epochs that the checkpoint goes on from{others}: "
                "put a copy of it back, or start over without the checkpoint"
            )
        if found not in (None, self.path):
            _copy(found, len(digests) * self._epoch, self.path)
        self.digests = list(digests)

    def leave(self, folder: Path) -> None:
        """Let ``folder`` have the epochs so far too, for a checkpoint that goes on without this file.

        It is a second name of the file, which takes no room, or a copy where there can be none.  Raises
        WriteError.
        """
        other = folder / self.path.name
        if other.resolve() == self.path.resolve():
            return
        with writing(other):
            if self.digests and not self._lasts():
                raise OSError(f"epochs have gone from {self.path}; give each run a folder of its own")
            other.unlink(missing_ok=True)
            if not self.digests:
                return
            try:
                os.link(self.path, other)
            except OSError:
                _copy(self.path, self.size, other)


def _copy(source: Path, size: int, path: Path) -> None:
    """Make ``path`` the first ``size`` bytes of ``source``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as old, whole_file(path) as new:
        while size:
            block = old.read(min(size, ROOM))
            if not block:
                raise OSError(f"{source} has become shorter")
            new.write(block)
            size -= len(block)
