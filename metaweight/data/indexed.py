"""Any map-style torch data set, with the position of every sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from metaweight.core.batch import Batch, Inputs


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

    An x that is a mapping, as a tokenizer gives it, gives keyword arguments; lists of numbers in it become
    tensors.  Targets that are whole numbers of any width, or bool, become int64.  Raises TypeError for
    samples without position or targets that are no numbers, ValueError for keys, lengths or targets whose
    shapes differ from sample to sample.
    """
    for sample in samples:
        if not isinstance(sample, tuple) or len(sample) != 3:
            raise TypeError(
                f"collate takes samples (x, y, position), got {_kind(sample)}; use Indexed(dataset)"
            )
    xs, ys, positions = zip(*samples, strict=True)
    inputs: Inputs
    if isinstance(xs[0], Mapping):
        inputs = _by_name(xs)
    else:
        parts = default_collate(list(xs))
        # default_collate makes a list of a tuple's parts
        inputs = tuple(parts) if isinstance(xs[0], tuple) else (parts,)
    return Batch(inputs, _targets(ys), torch.tensor(positions, dtype=torch.int64))


def _targets(ys: Sequence[Any]) -> Any:
    """The targets of a batch; what is no tensor then is refused by Batch, with what to do."""
    shapes = {tuple(y.shape) for y in ys if hasattr(y, "shape")}
    if len(shapes) > 1:
        raise ValueError(f"targets of one batch have one shape, got {sorted(shapes)[:3]}: pad them")
    try:
        targets = default_collate(list(ys))
    except TypeError as error:
        kinds = ", ".join(dict.fromkeys(map(_kind, ys)))
        raise TypeError(
            f"targets are numbers or tensors of them, got {kinds}; map labels to 0..C-1"
        ) from error
    return targets.long() if isinstance(targets, Tensor) and targets.dtype == torch.bool else targets


def _by_name(xs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Keyword arguments of a batch from those of its samples."""
    names = list(xs[0])
    for x in xs:
        if set(x) != set(names):
            raise ValueError(f"samples have the same inputs by name, got {sorted(names)} and {sorted(x)}")
    return {name: _stacked(name, [x[name] for x in xs]) for name in names}


def _stacked(name: str, values: Sequence[Any]) -> Any:
    # of lists default_collate would make one tensor for each position, across the samples
    if isinstance(values[0], list):
        values = [torch.tensor(value) for value in values]
    if isinstance(values[0], Tensor) and len(shapes := {tuple(value.shape) for value in values}) > 1:
        raise ValueError(
            f"inputs {name!r} of one batch have one shape, got {sorted(shapes)[:3]}: pad them to the longest "
            "in a collate_fn of your own, or when the data are made"
        )
    return default_collate(list(values))


def _kind(value: object) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple | list) else "")
