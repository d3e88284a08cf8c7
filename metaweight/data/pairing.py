"""Pairs each training batch with the next meta batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, overload

import torch
from torch.utils.data import DataLoader

from metaweight.core.contracts import Batch, require_batch
from metaweight.data.loader import ImageLoader
from metaweight.data.loaders import numbered
from metaweight.data.overlap import check_views, watched
from metaweight.data.splits import check_disjoint


@overload
def pairs(train: Iterable[Any], meta: Iterable[Any]) -> Iterator[tuple[Batch, Batch]]: ...
@overload
def pairs(
    train: Iterable[Any], meta: Iterable[Any], *, unroll: int
) -> Iterator[tuple[list[Batch], Batch]]: ...


def pairs(train: Iterable[Any], meta: Iterable[Any], *, unroll: int | None = None) -> Iterator[Any]:
    """One epoch of training batches, each with the next meta batch; the meta loader starts over at its end.

    With ``unroll=K`` each meta batch comes with a list of K training batches, as ``Reweighter(unroll=K)``
    takes them; the last list of the epoch may be shorter.
    torch DataLoaders of (inputs, targets) will do, whose batches are numbered on the way (``numbered``), and
    any iterables of Batch; ``meta`` must be iterable more than once.  With two ImageLoaders each call is
    their next epoch, the meta batch is a pure function of the pairs counted over all epochs, and no sample
    may be in both.  Nor may any with two torch DataLoaders over one data set (Subset, Indexed,
    SubsetRandomSampler); of other loaders the rows of the first epoch are compared, up to 65,536 of either,
    with one warning where some are in both.
    Raises ValueError for an empty meta loader, for samples in both, and for ``unroll`` below 1, TypeError for
    loaders of something else than Batch.
    """
    if unroll is not None and unroll < 1:
        raise ValueError(f"unroll is 1 or more, got {unroll}")
    if isinstance(train, ImageLoader) and isinstance(meta, ImageLoader):
        check_apart(train, meta)
        return _aligned(train, meta, unroll)
    known_apart = check_views(train, meta)
    batches = map(require_batch, _batches(train))
    taken = batches if unroll is None else _windows(batches, unroll)
    both = zip(taken, _cycle(_batches(meta)), strict=False)
    return both if known_apart else watched(both, train, meta, several=unroll is not None)


def _batches(given: Iterable[Any]) -> Iterable[Any]:
    return numbered(given) if isinstance(given, DataLoader) else given


def check_apart(train: ImageLoader, meta: ImageLoader) -> None:
    """Raise ValueError where two loaders show the same sample: one position, one image.

    Loaders over two data sets may use the same positions.
    """
    shared = train.index[torch.isin(train.index, meta.index.to(train.index.device))]
    if len(shared) == 0 or train.images.shape[1:] != meta.images.shape[1:]:
        return
    ours = train.images[shared.to(train.images.device)]
    same = (ours == meta.images[shared.to(meta.images.device)].to(ours.device)).flatten(1).all(dim=1)
    same_samples = shared[same.to(shared.device)]
    check_disjoint(same_samples, same_samples)


def _aligned(train: ImageLoader, meta: ImageLoader, unroll: int | None) -> Iterator[Any]:
    epoch, count = train.begin_epoch(), -(-len(train) // (unroll or 1))
    batches = train.epoch(epoch)
    for position, taken in enumerate(batches if unroll is None else _windows(batches, unroll)):
        yield taken, meta.at(epoch * count + position)


def _windows(batches: Iterable[Batch], unroll: int) -> Iterator[list[Batch]]:
    """Lists of ``unroll`` batches; the last one holds what is left."""
    rest = iter(batches)
    while window := list(islice(rest, unroll)):
        yield window


def _cycle(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches again and again; itertools.cycle would keep the first round's order and crops."""
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield require_batch(batch)
        if empty:
            raise ValueError(
                "the meta loader is empty (or can be iterated only once); give it at least one batch, "
                "and a loader, not an iterator"
            )
