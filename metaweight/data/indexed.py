"""Any map-style torch data set, with the position of every sample."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any, cast

import torch
from torch.utils.data import Dataset, default_collate

from metaweight.core.contracts import Batch


class Indexed(Dataset[tuple[Any, Any, int]]):
    """A data set of pairs (x, y) as one of triples (x, y, position), for ``collate``.

    Wrap the whole data set first and take subsets of it then, so that positions stay those of the whole.
    ``DataLoader(Indexed(dataset), batch_size=100, shuffle=True, collate_fn=collate)`` yields Batches.
    Raises TypeError for a data set without length and positions, or of other items than pairs.
    """

    def __init__(self, dataset: Dataset[tuple[Any, Any]]) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(
                f"Indexed takes a map-style data set (__len__ and __getitem__), got {_kind(dataset)}: "
                "a sample needs a position to carry a weight"
            )
        self.dataset = dataset

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, position: int) -> tuple[Any, Any, int]:
        position = range(len(self))[position]  # -1 is the last; IndexError beyond
        item = self.dataset[position]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise TypeError(f"Indexed wraps a data set of pairs (x, y), sample {position} is {_kind(item)}")
        return item[0], item[1], position


def collate(samples: Sequence[tuple[Any, Any, int]]) -> Batch:
    """Triples of an Indexed data set to a Batch; an x that is a tuple gives several inputs.

    Raises TypeError for samples without position.
    """
    for sample in samples:
        if not isinstance(sample, tuple) or len(sample) != 3:
            raise TypeError(
                f"collate takes samples (x, y, position), got {_kind(sample)}; use Indexed(dataset)"
            )
    xs, ys, positions = zip(*samples, strict=True)
    inputs = default_collate(list(xs))
    # default_collate makes a list of a tuple's parts
    inputs = tuple(inputs) if isinstance(xs[0], tuple) else (inputs,)
    return Batch(inputs, default_collate(list(ys)), torch.tensor(positions, dtype=torch.int64))


def _kind(value: object) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple | list) else "")
