"""The trusted rows as batches: any data set with positions, in an order that needs no state."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from metaweight.core.batch import Batch
from metaweight.core.randomness import forked_rng
from metaweight.data.epochs import EpochOrder, Epochs
from metaweight.data.seeding import derive


class TrustedRows(Epochs):
    """Batches of at most ``size`` rows of ``dataset``, which has a length and items by position.

    ``batch_of``: (items, positions [n] int64) -> Batch.  What it draws (masks, crops) depends on the seed and
    the place of the batch alone, and leaves the global generators as they were.  Raises TypeError for a data
    set without positions, ValueError for an empty one.
    """

    def __init__(
        self, dataset: Any, batch_of: Callable[[Sequence[Any], torch.Tensor], Batch], size: int, seed: int = 0
    ) -> None:
        super().__init__()
        self.dataset, self.batch_of, self.seed = with_positions(dataset, "trusted"), batch_of, seed
        self.size = size
        self._order = EpochOrder(len(dataset), shuffle=True, seed=seed, name="trusted")
        if len(dataset) == 0 or size < 1:
            raise ValueError(
                f"trusted batches hold at least one row, got {len(dataset)} rows in batches of {size}"
            )

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.size)

    def batch(self, epoch: int, position: int) -> Batch:
        self.check_position(epoch, position)
        rows = self._order.of(epoch)[position * self.size : (position + 1) * self.size]
        drawn = derive(self.seed, "trusted", epoch, position).initial_seed()
        with forked_rng(torch.device("cuda" if torch.cuda.is_available() else "cpu")):
            torch.manual_seed(drawn)
            random.seed(drawn)
            np.random.seed(drawn)
            return self.batch_of([self.dataset[row] for row in rows.tolist()], rows)


def with_positions(dataset: Any, which: str) -> Any:
    """``dataset`` where it has a length and items by position; raises TypeError for a stream or another."""
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(
            f"the {which} data set has a length and items by position, got {type(dataset).__name__}: a "
            "sample needs a position to carry a weight; of a stream make a map-style data set"
        )
    return dataset
