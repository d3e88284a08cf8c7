"""Streams: data sets without a length, read by one process or by several, each its share of every batch."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader, default_collate

from metaweight.core.batch import Batch, StandIn, part_of
from metaweight.core.processes import Processes
from metaweight.data.loaders import Collated

Row = tuple[Any, int]
"""An item of the user's, with its position."""


class Stream:
    """Batches of a data set that is only read from its beginning to its end: a torch ``IterableDataset``, one
    of Hugging Face ``datasets``, or what else gives the same rows each time that it is iterated.

        stream = Stream(rows, batch_size=64)
        for epoch in range(3):
            for batch in stream:
                reweighter.step(batch, trusted_batch)
        torch.save(stream.state_dict(), "stream.pt")  # also in the middle of an epoch

    Each iteration goes on where the stream stands, to the end of an epoch.  A row is what a DataLoader makes
    a batch of, (inputs, targets) or a mapping with labels (``LoaderBatches``), by ``collate_fn``, and its
    ``Batch.index`` is its position in the stream.  Rows are read in this process.

    In several processes (those of ``process_group``, default: of the group that is up) all iterate it, and
    each is given its part, as ``Batch.part``, of joined batches of ``batch_size`` rows: the same rows in the
    same order, with the same positions, for any number of processes.  Of ``datasets`` in several shards each
    process reads shards of its own, by ``split_dataset_by_node``: a joined batch has as many rows of each of
    ``lanes`` runs of shards, side by side (default: as many as divide shards and batch; at least one for each
    process).  Any other stream, and with ``lanes=1`` one of ``datasets`` too, is passed over by every
    process, which makes batches of its own rows alone; it must come in the same order in all: a shuffle has a
    seed.

    ``state_dict`` says where the stream stands: by the data set's own where it has one (that of ``datasets``
    fills a shuffle's buffer anew, which changes the order), else by the rows that are to be passed over
    again.  Any number of processes may go on with it.
    ``reshuffle``: call the data set's ``set_epoch`` for each epoch, so that positions are those of other
    rows.

    Raises TypeError for what can be iterated once only and for a DataLoader, ValueError for numbers that do
    not go together, and for a state of other ones.
    """

    def __init__(
        self,
        dataset: Iterable[Any],
        batch_size: int,
        *,
        collate_fn: Callable[[list[Any]], Any] = default_collate,
        lanes: int | None = None,
        reshuffle: bool = False,
        process_group: Any = None,
    ) -> None:
        _check_iterable(dataset)
        shards = int(dataset.num_shards) if _of_datasets(dataset) else 1  # type: ignore[attr-defined]
        self.batch_size = batch_size
        self.lanes = math.gcd(shards, max(batch_size, 1)) if lanes is None else lanes
        self._processes = Processes.at_hand(process_group)
        _check(batch_size, self.lanes, shards, self._processes.size)
        self._dataset, self._collate, self._reshuffle = dataset, Collated(collate_fn), reshuffle
        self._last: Row | None = None
        self._begin(0)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self._epoch

    def __iter__(self) -> Iterator[Batch]:
        """This process's parts of the batches from where the stream stands to the end of the epoch."""
        while self._processes.any(bool(turn := self._turn())):
            yield self._part(turn)
        self._begin(self._epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, after the batch that it gave last; all processes call it, and get the
        same."""
        own = [lane.state_dict() for lane in self._own]
        lanes = own if self.lanes == 1 else [one for part in self._processes.of_all(own) for one in part]
        return {"epoch": self._epoch, "batch_size": self.batch_size, "lanes": lanes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where a stream of the same rows stood, in as many processes as there are now."""
        theirs = state["batch_size"], len(state["lanes"])
        if theirs != (self.batch_size, self.lanes):
            raise ValueError(
                f"the state is of a stream with batch_size={theirs[0]} and lanes={theirs[1]}, this one has "
                f"{self.batch_size} and {self.lanes}: give it the same"
            )
        self._begin(state["epoch"])
        for lane, one in zip(self._own, state["lanes"][self._mine], strict=True):
            lane.load_state_dict(one)

    @property
    def _mine(self) -> slice:
        """Which lanes this process reads."""
        rank, size = self._processes.rank, self._processes.size
        return slice(0, 1) if self.lanes == 1 else part_of(self.lanes, rank, size)

    def _begin(self, epoch: int) -> None:
        self._epoch = epoch
        self._own = [self._lane(number) for number in range(*self._mine.indices(self.lanes))]

    def _lane(self, number: int) -> _Lane:
        dataset = self._dataset
        if _of_datasets(dataset):
            from datasets.distributed import split_dataset_by_node

            # also of one lane: an object of our own, whose state and epoch are nobody else's
            dataset = split_dataset_by_node(dataset, rank=number, world_size=self.lanes)
        if self._reshuffle:
            dataset.set_epoch(self._epoch)  # type: ignore[attr-defined]
        return _Lane(dataset, number, self.lanes, self.batch_size // self.lanes)

    def _turn(self) -> list[Row]:
        """The next rows of this process's lanes; none of those that have ended."""
        return [row for lane in self._own for row in lane.take()]

    def _part(self, turn: list[Row]) -> Batch:
        """This process's part of a joined batch of which it has read the rows ``turn``."""
        if self.lanes == 1:
            own = turn[part_of(len(turn), self._processes.rank, self._processes.size)]
            self._last = turn[0]
        else:
            own = turn
            self._last = turn[-1] if turn else self._last or (next(iter(self._dataset)), 0)
        return self._collate(own) if own else StandIn.of(self._collate([self._last]))


class _Lane:
    """Rows that come one after the other, of which each joined batch has the next few."""

    def __init__(self, dataset: Any, number: int, lanes: int, each: int) -> None:
        self._dataset, self._number, self._lanes, self._each = dataset, number, lanes, each
        self._rows: Iterator[Any] | None = None
        self._read, self._ended = 0, False
        self._found: Any = None
        """The data set's own words for where it begins; None: at its beginning."""

    def take(self) -> list[Row]:
        """As many rows as a batch has of this lane, fewer where it ends."""
        if self._ended:
            return []
        if self._rows is None:
            self._rows = islice(iter(self._dataset), self._read if self._found is None else 0, None)
        items = list(islice(self._rows, self._each))
        self._ended = len(items) < self._each
        first, self._read = self._read, self._read + len(items)
        return [(item, self._position(first + place)) for place, item in enumerate(items)]

    def _position(self, row: int) -> int:
        """In the stream, as if no lane ended before another."""
        turn, place = divmod(row, self._each)
        return (turn * self._lanes + self._number) * self._each + place

    def state_dict(self) -> dict[str, Any]:
        """Where it stands; ``own``: the data set's own words, where it has some."""
        own = self._found
        if self._rows is not None and hasattr(self._dataset, "state_dict"):
            own = self._dataset.state_dict()
        return {"read": self._read, "ended": self._ended, "own": None if self._ended else own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._read, self._ended, self._found = state["read"], state["ended"], state["own"]
        if self._found is not None:
            self._dataset.load_state_dict(self._found)


def _of_datasets(dataset: Any) -> bool:
    """Whether it is a stream of Hugging Face ``datasets``; who made one has imported them."""
    datasets = sys.modules.get("datasets")
    return datasets is not None and isinstance(dataset, datasets.IterableDataset)


def _check_iterable(dataset: object) -> None:
    if isinstance(dataset, DataLoader):
        raise TypeError(
            "a stream makes its batches itself: give the DataLoader's data set, and its collate_fn"
        )
    if not isinstance(dataset, Iterable) or isinstance(dataset, Iterator):
        raise TypeError(
            f"a stream is iterated anew in each epoch, and a {type(dataset).__name__} cannot be: give what "
            "has an __iter__ that begins at the first row, as a torch IterableDataset"
        )


def _check(batch_size: int, lanes: int, shards: int, processes: int) -> None:
    if batch_size < 1 or lanes < 1 or batch_size % lanes or shards % lanes:
        raise ValueError(
            f"batch_size is 1 or more, and lanes divide it and the {shards} shards of the data set, got "
            f"batch_size={batch_size} and lanes={lanes}"
        )
    if 1 < lanes < processes:
        raise ValueError(
            f"{processes} processes share {lanes} lanes of a stream, one each at least: give a batch_size "
            f"that has a larger divisor in common with the {shards} shards, or lanes=1, with which every "
            "process passes over all rows"
        )
