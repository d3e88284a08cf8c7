"""Batches that worker processes read while the student is trained on those before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from metaweight.core.batch import Batch
from metaweight.data.epochs import Epochs


class ReadAhead(Epochs):
    """The batches of ``source``, to the bit, read ahead by ``workers`` processes.

    They are ready where they are asked for in order, epoch after epoch; elsewhere what was read ahead, up to
    ``workers`` times ``prefetch_factor`` batches (None: 2), is thrown away.  The workers are started with the
    first batch and end with this object.
    ``source``: its batches are on the CPU and depend on (epoch, position) alone.  They come on ``device``, or
    as they are; with ``pin_memory`` by way of page-locked memory, so that nobody waits for the copy.  The
    others are as a DataLoader takes them, an error of a worker is raised with its traceback.
    Raises ValueError for no worker.
    """

    def __init__(
        self,
        source: Epochs,
        *,
        workers: int,
        device: torch.device | str | None = None,
        pin_memory: bool = False,
        prefetch_factor: int | None = None,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
    ) -> None:
        super().__init__()
        if workers < 1:
            raise ValueError(f"workers is 1 or more, got {workers}: without any a source is read as it is")
        self.source = source
        self._device = device
        self._course = _Course(len(source))
        self._loader: DataLoader[Batch] = DataLoader(
            _Reads(source),
            batch_size=None,
            sampler=self._course,
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=pin_memory,
            prefetch_factor=prefetch_factor,
            timeout=timeout,
            worker_init_fn=worker_init_fn,
            multiprocessing_context=multiprocessing_context,
            generator=torch.Generator(),  # the global one is the student's, for dropout
        )
        self._coming: Iterator[Batch] | None = None

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.source)

    def batch(self, epoch: int, position: int) -> Batch:
        """See ``Epochs``."""
        self.check_position(epoch, position)
        return self._at(_Place("batch", epoch, position))

    def part(self, epoch: int, position: int, rank: int, size: int) -> Batch:
        """See ``Epochs``; no other rows are read where ``source`` can do so."""
        self.check_position(epoch, position)
        return self._at(_Place("part", epoch, position, (rank, size)))

    def turn(self, epoch: int, turn: int, rank: int, size: int) -> Batch:
        """See ``Epochs``; the other processes' batches are not read."""
        self.check_position(epoch, turn * size)
        return self._at(_Place("turn", epoch, turn, (rank, size)))

    def _at(self, place: _Place) -> Batch:
        asked = self._course.asked
        if place not in asked:
            self._course.next = place
        if self._coming is None:
            self._coming = iter(self._loader)
        while asked[0] != place:
            asked.popleft()
            # what a worker could not read matters where it is asked for
            with suppress(Exception):
                next(self._coming)
        asked.popleft()
        batch = next(self._coming)
        return batch if self._device is None else batch.to(self._device)


@dataclass(frozen=True)
class _Place:
    """What is read at once: by the method ``call`` of a source, ``share`` being (rank, size)."""

    call: Literal["batch", "part", "turn"]
    epoch: int
    position: int
    share: tuple[int, ...] = ()

    def read(self, source: Epochs) -> Batch:
        batch: Batch = getattr(source, self.call)(self.epoch, self.position, *self.share)
        return batch

    def after(self, batches: int) -> _Place:
        """What will be asked for next, in epochs of so many ``batches``."""
        last = self.position + 1 == (-(-batches // self.share[1]) if self.call == "turn" else batches)
        epoch, position = (self.epoch + 1, 0) if last else (self.epoch, self.position + 1)
        return replace(self, epoch=epoch, position=position)


class _Course(Sampler[_Place]):
    """Place after place without an end; ``asked`` are those that no batch has come for yet."""

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self.next = _Place("batch", 0, 0)
        self.asked: deque[_Place] = deque()

    def __iter__(self) -> Iterator[_Place]:
        while True:
            place, self.next = self.next, self.next.after(self._batches)
            self.asked.append(place)
            yield place


class _Reads(Dataset[Batch]):
    """What a worker reads from."""

    def __init__(self, source: Epochs) -> None:
        self.source = source

    def __getitem__(self, place: _Place) -> Batch:
        return place.read(self.source)


def _as_it_is(batch: Any) -> Any:
    return batch
