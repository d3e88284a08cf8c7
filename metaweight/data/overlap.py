"""Samples that are in the training and in the meta loader: by position, or by what their rows hold."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterable, Iterator, Sequence, Sized
from functools import lru_cache
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
)

from metaweight.core.batch import Batch
from metaweight.data.indexed import Indexed
from metaweight.data.splits import check_disjoint

ROWS = 65_536
"""Rows of either side whose fingerprints are kept."""
ELEMENTS = 4_096
"""Elements of a row that enter its fingerprint, evenly spread; all where there are fewer."""
WHOLE = (SequentialSampler, RandomSampler, DistributedSampler)
"""Samplers that show all of a data set, the last one in all processes together."""
_compared: weakref.WeakKeyDictionary[Any, weakref.WeakSet[Any]] = weakref.WeakKeyDictionary()
"""Meta loader -> training loaders that it was compared with."""
Pair = TypeVar("Pair")


def check_views(train: object, meta: object) -> bool:
    """Whether two torch DataLoaders show known positions of one data set; raises ValueError where they share
    some.  False where that cannot be told."""
    if not (isinstance(train, DataLoader) and isinstance(meta, DataLoader)):
        return False
    ours, theirs = positions(train), positions(meta)
    if ours is None or theirs is None or ours[0] is not theirs[0]:
        return False
    check_disjoint(theirs[1], ours[1])
    return True


def positions(loader: DataLoader[Any]) -> tuple[object, Tensor] | None:
    """The data set beneath all Subsets and Indexed, and which of its positions a loader shows; None where
    its sampler does not tell."""
    sampler, batches = loader.sampler, loader.batch_sampler
    if batches is not None and type(batches) is not BatchSampler:
        return None
    if type(sampler) is SubsetRandomSampler:
        shown = _tensor(sampler.indices)
    elif type(sampler) in WHOLE and isinstance(loader.dataset, Sized):
        shown = torch.arange(len(loader.dataset))
    else:
        return None
    dataset: object = loader.dataset
    while isinstance(dataset, Subset | Indexed):
        if isinstance(dataset, Subset):
            shown = _tensor(dataset.indices)[shown]
        dataset = dataset.dataset
    return dataset, shown


def _tensor(indices: Sequence[int]) -> Tensor:
    if isinstance(indices, range):
        return torch.arange(indices.start, indices.stop, indices.step)
    return torch.as_tensor(indices, dtype=torch.int64).cpu()


def watched(pairs: Iterable[Pair], train: object, meta: object, several: bool) -> Iterator[Pair]:
    """The same pairs; of loaders not met before, rows are compared, with one warning for those in both."""
    if _met(train, meta):
        yield from pairs
        return
    rows = RowWatch()
    number, due = 0, 1
    for pair in pairs:
        ours, theirs = cast(tuple[Any, Batch], pair)
        if not rows.warned:
            for one in ours if several else (ours,):
                rows.see_train(one)
            rows.see_meta(theirs)
            number += 1
            if number == due:  # not at the end alone: an epoch may be long
                rows.tell()
                due *= 2
        yield pair
    rows.tell()


def _met(train: object, meta: object) -> bool:
    """Whether both loaders were compared in an epoch before; of what cannot be remembered, never."""
    try:
        others = _compared.setdefault(meta, weakref.WeakSet())
        met = train in others
        others.add(train)
    except TypeError:  # lists, say
        return False
    return met


class RowWatch:
    """Fingerprints of training and meta rows, and a warning where some are the same."""

    def __init__(self) -> None:
        self.warned = False
        self._train: set[int] = set()
        self._meta: set[int] = set()

    def see_train(self, batch: Batch) -> None:
        """Take training rows."""
        _take(self._train, batch)

    def see_meta(self, batch: Batch) -> None:
        """Take meta rows."""
        _take(self._meta, batch)

    def tell(self) -> None:
        """Warn, once, where rows are in both."""
        both = len(self._train & self._meta)
        if not both or self.warned:
            return
        self.warned = True
        warnings.warn(
            f"{both} of {len(self._meta)} different meta rows seen so far have the inputs of a training row: "
            "where these are the same samples, the teacher learns from what the student was trained on; "
            "leave them out of the training set (torch.utils.data.Subset, or metaweight.data.make_splits)",
            UserWarning,
            stacklevel=3,
        )


def _take(into: set[int], batch: Batch) -> None:
    if len(into) < ROWS:
        into.update(fingerprints(batch))


@torch.no_grad()
def fingerprints(batch: Batch) -> list[int]:
    """A number for each row's inputs, the same for the same rows wherever they stand; none without tensors.

    Sums of products of whole numbers: their order, unlike that of real ones, does not matter.
    """
    total: Tensor | None = None
    for place, value in enumerate((*batch.args, *batch.kwargs.values())):
        if not isinstance(value, Tensor) or value.is_nested or value.dim() == 0 or len(value) != len(batch):
            continue
        bits = _bits(value.detach())
        spread = bits[:, :: max(1, -(-bits.shape[1] // ELEMENTS))].long()
        part = (spread * _factors(spread.shape[1], place, str(spread.device))).sum(dim=1)
        total = part if total is None else total + part
    return [] if total is None else total.tolist()


def _bits(value: Tensor) -> Tensor:
    """[U, n] whole numbers of the same bits."""
    if value.is_complex():
        value = torch.view_as_real(value)
    rows = value.reshape(len(value), -1).contiguous()
    if not rows.is_floating_point():
        return rows
    return rows.view({1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[rows.element_size()])


@lru_cache(maxsize=64)
def _factors(count: int, place: int, device: str) -> Tensor:
    generator = torch.Generator().manual_seed(place)
    return torch.randint(-(2**62), 2**62, (count,), generator=generator).to(device)
