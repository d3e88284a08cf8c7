"""What every loader of epochs has: batches by step, by epoch, one after the other, and parts of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from metaweight.core.batch import StandIn, part_of
from metaweight.core.contracts import Batch
from metaweight.data.seeding import derive


class EpochOrder:
    """The order of ``size`` samples in each epoch: drawn from (seed, ``name``, epoch), or always the same.

    The one asked for last is kept, for batches ask for it again and again.
    """

    def __init__(
        self,
        size: int,
        *,
        shuffle: bool,
        seed: int,
        name: str = "order",
        device: torch.device | str | None = None,
    ) -> None:
        self._size, self._shuffle, self._seed, self._name = size, shuffle, seed, name
        self._device = device
        self._last: tuple[int, Tensor] | None = None

    def of(self, epoch: int) -> Tensor:
        """[size] int64, on the order's device."""
        if not self._shuffle:
            epoch = 0  # one order for all
        if self._last is None or self._last[0] != epoch:
            if self._shuffle:
                order = torch.randperm(self._size, generator=derive(self._seed, self._name, epoch))
            else:
                order = torch.arange(self._size)
            self._last = (epoch, order.to(self._device))
        return self._last[1]


class Epochs(ABC):
    """Batches as a pure function of (epoch, position), so that a run resumes bit for bit.

    Iterating gives the next epoch each time.
    """

    def __init__(self) -> None:
        self._begun = 0

    @abstractmethod
    def __len__(self) -> int:
        """Batches an epoch."""

    @abstractmethod
    def batch(self, epoch: int, position: int) -> Batch:
        """The ``position``-th batch of an epoch, both from 0.  Raises IndexError beyond the epoch's end."""

    def part(self, epoch: int, position: int, rank: int, size: int) -> Batch:
        """Of a batch what process ``rank`` of ``size`` has, as ``Batch.part``."""
        return self.batch(epoch, position).part(rank, size)

    def turn(self, epoch: int, turn: int, rank: int, size: int) -> Batch:
        """Whole batches go to ``size`` processes one after the other: the one of process ``rank`` in its
        ``turn``, from 0; the epoch's last where none is left."""
        return self.batch(epoch, min(turn * size + rank, len(self) - 1))

    def at(self, step: int) -> Batch:
        """The ``step``-th batch counted over all epochs: for a meta set, which cycles."""
        return self.batch(*divmod(step, len(self)))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from batch ``start`` on."""
        return (self.batch(epoch, position) for position in range(start, len(self)))

    def begin_epoch(self) -> int:
        """The number of the next epoch, which is thereby used up: 0, 1, 2, ..."""
        self._begun += 1
        return self._begun - 1

    def go_to(self, epoch: int) -> None:
        """The next epoch that is begun is ``epoch``, from 0."""
        self._begun = epoch

    def rest(self) -> None:  # noqa: B027 (for those that keep something)
        """For a while nobody asks: let go of what was kept ready."""

    def __iter__(self) -> Iterator[Batch]:
        """The next epoch: 0 the first time, then 1, ..."""
        return self.epoch(self.begin_epoch())

    def check_position(self, epoch: int, position: int) -> None:
        """Raise IndexError where there is no such batch."""
        if epoch < 0 or not 0 <= position < len(self):
            raise IndexError(f"an epoch has batches 0..{len(self) - 1}, got epoch {epoch}, batch {position}")


class ByRow(Epochs):
    """Epochs of which some rows of a batch can be read without the others."""

    @abstractmethod
    def rows(self, epoch: int, position: int) -> int:
        """How many a batch has."""

    @abstractmethod
    def read(self, epoch: int, position: int, rows: slice) -> Batch:
        """Those rows of a batch, one or more, which are what they are in the whole of it."""

    def batch(self, epoch: int, position: int) -> Batch:
        """The ``position``-th batch of an epoch, both from 0.  Raises IndexError beyond the epoch's end."""
        self.check_position(epoch, position)
        return self.read(epoch, position, slice(0, self.rows(epoch, position)))

    def part(self, epoch: int, position: int, rank: int, size: int) -> Batch:
        """Of a batch what process ``rank`` of ``size`` has, as ``Batch.part``; no other rows are read."""
        self.check_position(epoch, position)
        own = part_of(self.rows(epoch, position), rank, size)
        if own.start < own.stop:
            return self.read(epoch, position, own)
        return StandIn.of(self.read(epoch, position, slice(0, 1)))


def let_rest(sources: Iterable[object]) -> None:
    """``Epochs.rest`` of those that are epochs."""
    for source in sources:
        if isinstance(source, Epochs):
            source.rest()
