"""torch's DataLoader as batches by (epoch, position), each row with its position in the data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from metaweight.core.batch import Batch
from metaweight.core.randomness import forked_rng
from metaweight.data.epochs import EpochOrder, Epochs
from metaweight.data.indexed import Indexed, collate
from metaweight.data.seeding import derive

LABELS = ("labels", "label", "targets", "target")
"""Keys under which a batch by name has its targets."""


class LoaderBatches(Epochs):
    """The batches of a DataLoader: its data set, size, collate_fn and ``drop_last``; shuffled if it shuffles.

    The order is a function of ``seed`` and the epoch, and not torch's, so that a run resumes bit for bit;
    rows are read in this process.  A batch of the loader is (inputs, targets), or a mapping with one of
    ``LABELS``.  Raises TypeError for a stream, ValueError for a sampler of the user's own.
    """

    def __init__(self, loader: DataLoader[Any], *, seed: int = 0) -> None:
        super().__init__()
        if isinstance(loader.dataset, IterableDataset):
            raise TypeError(
                "a stream has no positions, and a sample needs one to carry a weight: make a map-style "
                "data set of it (__len__ and __getitem__)"
            )
        plain = (RandomSampler, SequentialSampler)
        if type(loader.batch_sampler) is not BatchSampler or not isinstance(loader.sampler, plain):
            raise ValueError(
                f"the loader draws by a {type(loader.sampler).__name__} of its own, whose order cannot be "
                "had by epoch and position: give a loader with batch_size and shuffle, or a Source of batches"
            )
        self.shuffle = isinstance(loader.sampler, RandomSampler)
        self.size, self.drop_last, self.seed = int(loader.batch_size or 1), loader.drop_last, seed
        given, own = loader.dataset, loader.collate_fn
        self.dataset: Any = given if isinstance(given, Indexed) else Positioned(given)
        self._collate: Callable[[Any], Batch] = own if own is collate else Collated(own)
        self._order = EpochOrder(len(self.dataset), shuffle=self.shuffle, seed=seed, name="loader")
        if len(self) == 0:
            raise ValueError(f"{len(self.dataset)} rows give no batch of {self.size} (drop_last)")

    def __len__(self) -> int:
        rows = len(self.dataset)
        return rows // self.size if self.drop_last else -(-rows // self.size)

    def batch(self, epoch: int, position: int) -> Batch:
        """The ``position``-th batch of an epoch, both from 0.  Raises IndexError beyond the epoch's end."""
        self.check_position(epoch, position)
        rows = self._order.of(epoch)[position * self.size : (position + 1) * self.size].tolist()
        with forked_rng(torch.device("cpu")):  # what a data set draws depends on the place of the batch alone
            torch.manual_seed(derive(self.seed, "rows", epoch, position).initial_seed())
            return self._collate([self.dataset[row] for row in rows])


class Positioned:
    """A data set of items of any kind, each with its position."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        return self.dataset[position], position


class Collated:
    """From items with positions to a Batch, by the user's ``collate_fn``."""

    def __init__(self, collate_fn: Callable[[list[Any]], Any] = default_collate) -> None:
        self.collate_fn = collate_fn

    def __call__(self, items: Sequence[tuple[Any, ...]]) -> Batch:
        """Raises TypeError for what the user's function gives where that is no batch with targets."""
        *parts, positions = zip(*items, strict=True)
        index = torch.tensor(positions, dtype=torch.int64)
        samples = (
            list(parts[0]) if len(parts) == 1 else list(zip(*parts, strict=True))
        )  # Indexed unpacks pairs
        made = self.collate_fn(samples)
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
        raise TypeError(
            f"a batch is (inputs, targets) or a mapping with targets, got a {type(made).__name__}: give such "
            "a collate_fn"
        )


def as_source(batches: Any, *, seed: int = 0) -> Any:
    """A DataLoader as LoaderBatches; everything else as it is."""
    return LoaderBatches(batches, seed=seed) if isinstance(batches, DataLoader) else batches
