"""Items of a data set as Batches; what they draw depends on seed, epoch and place, and on nothing before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import Subset, get_worker_info

from metaweight.core.batch import Batch, require_batch
from metaweight.core.randomness import RandomState, forked_rng
from metaweight.data.seeding import seed_globals

_CPU = torch.device("cpu")


class BatchPlace(NamedTuple):
    """Which batch of a loader: all that its draws depend on."""

    seed: int
    epoch: int
    position: int


class Items:
    """``dataset``'s items, from which ``collate`` makes a Batch.

    What a row draws from torch's, NumPy's and Python's global generators for the CPU goes with the seed, the
    epoch and the row's place, or, where rows are drawn for together (in ``__getitems__``, or in the
    collate_fn), with the batch's position.  The generators are left as they were.
    ``unread``: a copy of the data set that nobody has read from, for worker processes: a file that it opens
    with its first row each of them opens for itself, where one that was open before they were made would
    have one place for all.
    """

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any], unread: Any = None) -> None:
        self._own, self._unread, self._collate = dataset, unread, collate
        self._at_once = _gives_several(dataset)
        self._rows_draw = self._together = False  # as far as is known

    @property
    def dataset(self) -> Any:
        """What this process reads from."""
        return self._own if self._unread is None or get_worker_info() is None else self._unread

    def batch(self, place: BatchPlace, items: Sequence[int], rows: slice = slice(None)) -> Batch:
        """Of the ``items``, a whole batch, those ``rows``: what they are in it but for padding.

        Where rows are drawn for together the whole of it is read: a part would get other draws alone.
        """
        whole = list(items)
        own = whole[rows]
        with forked_rng(_CPU):
            if not self._together or len(own) == len(whole):
                batch, self._together = self._made(place, own)
                if not self._together or len(own) == len(whole):
                    return batch
            batch, _ = self._made(place, whole)
        return batch.rows(torch.arange(len(whole))[rows])

    def _made(self, place: BatchPlace, positions: list[int]) -> tuple[Batch, bool]:
        """A Batch of some items, and whether something was drawn for several of them together."""
        items, drawn = self._read(place, positions)
        seed_globals(place.seed, "batch", place.epoch, place.position)
        before = RandomState.of(_CPU)
        batch = require_batch(self._collate(items))
        return batch, self._together or drawn or not before.stands()

    def _read(self, place: BatchPlace, positions: list[int]) -> tuple[list[Any], bool]:
        """Some items, and whether something was drawn for several of them together."""
        if not self._rows_draw:
            seed_globals(place.seed, "rows", place.epoch, place.position)
            before = RandomState.of(_CPU)
            items = fetched(self.dataset, positions)
            still = before.stands()
            if self._at_once or still:
                return items, not still
            self._rows_draw = True
        return [self._item(place, position) for position in positions], False

    def _item(self, place: BatchPlace, position: int) -> Any:
        """One of a data set whose rows draw, each from where it stands alone."""
        seed_globals(place.seed, "row", place.epoch, position)
        (item,) = fetched(self.dataset, [position])
        return item


def fetched(dataset: Any, positions: Sequence[int]) -> list[Any]:
    """The items at ``positions``, at once where the data set can give them so, as torch's loaders do."""
    at_once = getattr(dataset, "__getitems__", None)
    return list(at_once(list(positions))) if at_once else [dataset[position] for position in positions]


class Positioned:
    """A data set of items of any kind, each with its position."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        return self.dataset[position], position

    def __getitems__(self, positions: Sequence[int]) -> list[tuple[Any, int]]:
        return list(zip(fetched(self.dataset, positions), positions, strict=True))


def _gives_several(dataset: Any) -> bool:
    """Whether the user's data set gives several rows at once, in a way of its own."""
    while isinstance(dataset, Subset | Positioned):
        dataset = dataset.dataset
    return hasattr(dataset, "__getitems__")
