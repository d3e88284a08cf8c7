"""torch's DataLoaders as Batches, each row with its position: in torch's order, or by (epoch, position)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    default_collate,
    get_worker_info,
)

from metaweight.core.batch import Batch
from metaweight.data.ahead import ReadAhead
from metaweight.data.epochs import ByRow, EpochOrder
from metaweight.data.indexed import Indexed
from metaweight.data.items import BatchPlace, Items, Positioned

LABELS = ("labels", "label", "targets", "target")
"""Keys under which a batch by name has its targets."""
NO_POSITIONS = (
    "a stream has no positions, and a sample needs one to carry a weight: make a map-style data set of it "
    "(__len__ and __getitem__), or read it by metaweight.data.Stream, in a loop of your own"
)
_numbered: WeakKeyDictionary[DataLoader[Any], DataLoader[Batch]] = WeakKeyDictionary()
"""A user's loader -> ``numbered``: one for all epochs, or its workers would be started anew for each."""


def numbered(loader: DataLoader[Any]) -> DataLoader[Batch]:
    """A loader of the same rows, in the same order and by as many workers, that gives Batches.

    A row's position is that in the loader's data set, or the one that an Indexed beneath it gives.  Batches
    are as ``LoaderBatches`` takes them, or Batches already.  A stream, a loader without batches
    (``batch_size=None``) and one with a way of its own, as Accelerate's have, stay as they are: what they
    give has to be Batches.  (Of Accelerate: ``accelerator.prepare(numbered(loader))``.)
    """
    own_way = type(loader).__iter__ is not DataLoader.__iter__
    if own_way or isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return loader
    if loader not in _numbered:
        dataset, collate_fn = _with_positions(loader)
        _numbered[loader] = DataLoader(
            dataset,
            batch_sampler=loader.batch_sampler,
            collate_fn=collate_fn,
            in_order=loader.in_order,
            generator=loader.generator,
            persistent_workers=loader.persistent_workers,
            num_workers=loader.num_workers,
            **reading(loader),
        )
    return _numbered[loader]


def reading(loader: DataLoader[Any]) -> dict[str, Any]:
    """How its workers read, as a DataLoader's options; how many they are is not among them."""
    names = ("pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "prefetch_factor")
    return {name: getattr(loader, name) for name in names}


def rows_in(loader: DataLoader[Any]) -> int:
    """One more than the largest position that a Batch of ``numbered(loader)`` has.

    Raises TypeError for a data set that has no length.
    """
    dataset: Any = loader.dataset
    if bears_positions(dataset):
        dataset = _beneath(dataset)
    if not hasattr(dataset, "__len__"):
        raise TypeError(NO_POSITIONS)
    return len(dataset)


def bears_positions(dataset: Any) -> bool:
    """Whether each item has its position beside it already: Indexed, and what ``numbered`` gives, in parts
    too."""
    return isinstance(_beneath(dataset), Indexed | Positioned)


def _beneath(dataset: Any) -> Any:
    """The whole of which ``dataset`` may be a part of a part."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


def _with_positions(loader: DataLoader[Any]) -> tuple[Any, Callable[[list[Any]], Batch]]:
    """A loader's data set as items with positions, and what makes a Batch of some of them."""
    given, own = loader.dataset, loader.collate_fn
    if not bears_positions(given):
        return Positioned(given), Collated(own)
    # one of the user's own takes items of Indexed as they are, as it does in the loader itself
    return given, Collated(own) if own is default_collate else own


class LoaderBatches(ByRow):
    """The batches of a DataLoader: its data set, size, collate_fn and ``drop_last``; shuffled if it shuffles.

    The order is a function of ``seed`` and the epoch, and not torch's, so that a run resumes bit for bit, and
    so is what is drawn when rows are read (see ``Items``).  Rows are read in this process, ``as_source``
    has the loader's workers read them; batches come on ``device``, or as they are.
    A batch of the loader is (inputs, targets), or a mapping with one of ``LABELS``.  Raises TypeError for a
    stream, ValueError for a sampler of the user's own.
    """

    def __init__(self, loader: DataLoader[Any], *, seed: int = 0, device: torch.device | None = None) -> None:
        super().__init__()
        self.device = device
        if isinstance(loader.dataset, IterableDataset):
            raise TypeError(NO_POSITIONS)
        plain = (RandomSampler, SequentialSampler)
        if type(loader.batch_sampler) is not BatchSampler or not isinstance(loader.sampler, plain):
            raise ValueError(
                f"the loader draws by a {type(loader.sampler).__name__} of its own, whose order cannot be "
                "had by epoch and position: give a loader with batch_size and shuffle, or a Source of batches"
            )
        self.shuffle = isinstance(loader.sampler, RandomSampler)
        self.size, self.drop_last, self.seed = int(loader.batch_size or 1), loader.drop_last, seed
        self.dataset, collate = _with_positions(loader)
        self._items = Items(self.dataset, collate)
        self._order = EpochOrder(len(self.dataset), shuffle=self.shuffle, seed=seed, name="loader")
        if len(self) == 0:
            raise ValueError(f"{len(self.dataset)} rows give no batch of {self.size} (drop_last)")

    def __len__(self) -> int:
        rows = len(self.dataset)
        return rows // self.size if self.drop_last else -(-rows // self.size)

    def rows(self, epoch: int, position: int) -> int:
        """How many a batch has."""
        return min(self.size, len(self.dataset) - position * self.size)

    def read(self, epoch: int, position: int, rows: slice) -> Batch:
        """Those rows of a batch, as they are in the whole of it but for padding by the collate_fn."""
        places = self._order.of(epoch)[position * self.size : (position + 1) * self.size].tolist()
        batch = self._items.batch(BatchPlace(self.seed, epoch, position), places, rows)
        return batch if self.device is None else batch.to(self.device)


class Collated:
    """From items with positions to a Batch, by the user's ``collate_fn``."""

    def __init__(self, collate_fn: Callable[[list[Any]], Any] = default_collate) -> None:
        self.collate_fn = collate_fn

    def __call__(self, items: Sequence[tuple[Any, ...]]) -> Batch:
        """A Batch that the function gives stays as it is.  Raises TypeError where there are no targets."""
        *parts, positions = zip(*items, strict=True)
        index = torch.tensor(positions, dtype=torch.int64)
        samples = (
            list(parts[0]) if len(parts) == 1 else list(zip(*parts, strict=True))
        )  # Indexed unpacks pairs
        made = self.collate_fn(samples)
        if isinstance(made, Batch):
            return made
        if isinstance(made, Mapping):
            named = dict(made)
            name = next((name for name in LABELS if name in named), None)
            if name is None:
                known = ", ".join(LABELS)
                raise TypeError(f"a batch by name has its targets under one of {known}, got {list(named)}")
            targets = named.pop(name)
            return Batch(named, targets, index)
        if isinstance(made, tuple | list) and len(made) == 2:
            inputs, targets = made
            return Batch(tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,), targets, index)
        size = f" of {len(made)}" if isinstance(made, tuple | list) else ""
        raise TypeError(
            f"a batch is (inputs, targets) or a mapping with targets, got a {type(made).__name__}{size}: "
            "give such a collate_fn; several inputs are ((a, b), targets)"
        )


def as_source(
    batches: Any, *, seed: int = 0, device: torch.device | None = None, cycled: bool = False
) -> Any:
    """A DataLoader as batches by epoch and position, on ``device``; everything else as it is.

    Read ahead by the loader's workers where it has some, which end with each epoch unless it keeps them
    (``persistent_workers``), or its epochs are short ones, one after the other (``cycled``).
    """
    if not isinstance(batches, DataLoader):
        return batches
    if not batches.num_workers:
        return LoaderBatches(batches, seed=seed, device=device)
    options = reading(batches)
    if batches.worker_init_fn is not None:
        options["worker_init_fn"] = _Started(batches.worker_init_fn)
    return ReadAhead(
        LoaderBatches(batches, seed=seed),
        workers=batches.num_workers,
        persistent=cycled or batches.persistent_workers,
        device=device,
        **options,
    )


class _Started:
    """A user's ``worker_init_fn``, which finds the user's data set in the worker's info."""

    def __init__(self, init: Callable[[int], None]) -> None:
        self._init = init

    def __call__(self, worker: int) -> None:
        info: Any = get_worker_info()
        reads = info.dataset
        held = reads.source.dataset
        # which refuses to be set
        object.__setattr__(info, "dataset", held.dataset if isinstance(held, Positioned) else held)
        try:
            self._init(worker)
        finally:
            object.__setattr__(info, "dataset", reads)
