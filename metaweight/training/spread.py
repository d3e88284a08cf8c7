"""Batches that several processes evaluate together, each its share of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from metaweight.core.contracts import Batch
from metaweight.core.processes import Processes
from metaweight.data.epochs import Epochs
from metaweight.student.student import Student

T = TypeVar("T")


class Spread:
    """Batches of which each of some processes is to evaluate its own; iterated, they are all there.

    Whole batches, one to each process in turn: a row's outputs are bit for bit those of one process.
    """

    def __init__(self, batches: Iterable[Batch], processes: Processes) -> None:
        self._batches, self.processes = batches, processes

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    def own(self) -> Iterator[tuple[Batch, bool]]:
        """This process's batches, and whether each counts.

        All processes have as many, for parameters that are spread over them are gathered in each pass: where
        one has none left, it takes another's, which counts for nothing.
        """
        rank, size = self.processes.rank, self.processes.size
        if isinstance(self._batches, Epochs):  # which builds those alone that are asked for
            epoch, count = self._batches.begin_epoch(), len(self._batches)
            for place in range(-(-count // size)):
                yield self._batches.turn(epoch, place, rank, size), place * size + rank < count
            return
        rest = iter(self._batches)
        while turn := list(islice(rest, size)):
            yield turn[min(rank, len(turn) - 1)], rank < len(turn)


def spread(batches: Iterable[Batch], processes: Processes, epoch: int = 0) -> Iterable[Batch]:
    """``batches`` for ``processes`` to evaluate together; as they are where there is one.

    Those of ``epoch``, from 0, where they know epochs: a resumed run's are then the whole one's.
    """
    if isinstance(batches, Epochs):
        batches.go_to(epoch)
    return batches if processes.size == 1 else Spread(batches, processes)


def told_of_each(batches: Iterable[Batch], found: Callable[[Batch], T], student: Student) -> list[T]:
    """What ``found`` gives for each batch, in their order; of ``Spread`` batches each process finds its own
    and all are told, tensors on the student's device.  An error in one process is raised in all."""
    if not isinstance(batches, Spread):
        return [found(batch) for batch in batches]
    own: list[T] = []
    failure: Exception | None = None
    try:
        for batch, counts in batches.own():
            value = found(batch)
            if counts:
                own.append(_on(value, torch.device("cpu")))
    except Exception as error:
        if student.sharded is not None:  # others are in a pass, which ends as this process does
            raise
        failure = error
    everyone, failures = zip(*batches.processes.of_all((own, failure)), strict=True)
    if first := next(filter(None, failures), None):
        raise first
    count, size = sum(map(len, everyone)), len(everyone)
    return [_on(everyone[place % size][place // size], student.device) for place in range(count)]


def _on(value: T, device: torch.device) -> T:
    return cast(T, tree_map_only(Tensor, lambda one: one.to(device), value))
