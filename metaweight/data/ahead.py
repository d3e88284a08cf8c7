"""Batches that worker processes read while the student is trained on those before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader, Dataset, Sampler

from metaweight.core.batch import Batch
from metaweight.data.epochs import Epochs


class ReadAhead(Epochs):
    """The batches of ``source``, read ahead by ``workers`` processes.

    They are ready where they are asked for in order; asked for another one, the workers begin anew there.
    The workers are started with the first batch, and have up to ``prefetch_factor`` (None: 2) batches each
    ready.  ``persistent``: they go on from epoch to epoch, to ``rest`` or the end of this object; if not,
    they end with each epoch, and those of the next see what has changed of the data since.
    ``source``: its batches are on the CPU and depend on (epoch, position) alone, and are then the same to the
    bit; what rows have of their own, a generator or a counter, each worker has.  Batches come on ``device``,
    or as they are; with ``pin_memory`` by way of page-locked memory, so that nobody waits for the copy.  The
    others are as a DataLoader takes them; an error of the source is raised with its traceback where its batch
    is asked for.  Raises ValueError for no worker.
    """

    def __init__(
        self,
        source: Epochs,
        *,
        workers: int,
        persistent: bool = True,
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
        self.source, self._persistent, self._device = source, persistent, device
        self._course = _Course(len(source), persistent)
        self._loader: DataLoader[tuple[_Place, Any]] = DataLoader(
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
        self._coming: Iterator[tuple[_Place, Any]] | None = None

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

    def rest(self) -> None:
        """See ``Epochs``: the workers end, and others begin with the next batch."""
        self._coming = None
        self._course.asked.clear()

    def _at(self, place: _Place) -> Batch:
        if self._coming is None or place not in self._course.asked:
            self.rest()
            self._course.next = place
            self._coming = iter(self._loader)
        try:
            given = None
            while given != place:
                given, batch = next(self._coming)
                self._course.asked.popleft()
        except BaseException:  # Ctrl-C, a time that is over, a worker that was killed: who knows what is next
            self.rest()
            raise
        if not self._persistent and place.after(len(self)).epoch > place.epoch:
            self.rest()
        if isinstance(batch, ExceptionWrapper):
            batch.reraise()
        own: Batch = batch
        return own if self._device is None else own.to(self._device)


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
    """Place after place, to the end of an epoch or without an end; ``asked`` are those that have not come."""

    def __init__(self, batches: int, endless: bool) -> None:
        self._batches, self._endless = batches, endless
        self.next = _Place("batch", 0, 0)
        self.asked: deque[_Place] = deque()

    def __iter__(self) -> Iterator[_Place]:
        place = self.next
        while self._endless or place.epoch == self.next.epoch:
            self.asked.append(place)
            yield place
            place = place.after(self._batches)


class _Reads(Dataset[tuple[_Place, Any]]):
    """What a worker reads from; of a batch that cannot be read it gives the error."""

    def __init__(self, source: Epochs) -> None:
        self.source = source

    def __getitem__(self, place: _Place) -> tuple[_Place, Any]:
        try:
            return place, place.read(self.source)
        except Exception:
            return place, ExceptionWrapper(where=f"in a worker, {place.call} {place.position}")


def _as_it_is(item: Any) -> Any:
    return item
