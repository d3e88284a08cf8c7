"""The items of data sets as rows that a student is called with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import ConcatDataset

from metaweight.core.batch import Batch
from metaweight.data.items import BatchPlace, Items, Positioned
from metaweight.data.loaders import Collated
from metaweight.data.rows.loader import ALL, EVALUATED

AT_ONCE = 1 << 23
"""Numbers of a batch that is not trained on; workers have several of these ready."""


@dataclass(frozen=True, eq=False)
class CollatedRows:
    """Rows of data sets laid end to end; ``positions`` [N] says which of their ``items`` each is."""

    items: Items
    positions: Tensor
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (a value)

    @staticmethod
    def of(
        parts: Iterable[Any], collate_fn: Callable[[list[Any]], Any], unread: Iterable[Any] | None = None
    ) -> CollatedRows:
        """All items of some data sets; ``unread``: see ``Items``."""
        whole: ConcatDataset[Any] = ConcatDataset(parts)
        copies = None if unread is None else Positioned(ConcatDataset(unread))
        return CollatedRows(Items(Positioned(whole), Collated(collate_fn), copies), torch.arange(len(whole)))

    def __len__(self) -> int:
        """N."""
        return len(self.positions)

    def select(
        self, positions: Tensor, rows: slice = ALL, place: BatchPlace | None = None
    ) -> tuple[Tensor, ...] | Mapping[str, Tensor]:
        """Arguments, or keyword arguments; as wide as the user's own ``collate_fn`` makes the ``rows``
        alone."""
        batch = self.batch(self.positions[positions.cpu()].tolist(), rows, place)
        return batch.kwargs or batch.args

    def batch(self, items: Sequence[int], rows: slice = ALL, place: BatchPlace | None = None) -> Batch:
        """The Batch of some items, by their places in the data sets end to end."""
        return self.items.batch(place or BatchPlace(0, 0, 0), items, rows).to(self.device)

    @property
    def at_once(self) -> int:
        """Rows of a batch that is not trained on: fewer where the first row has many numbers, as a picture
        has."""
        if not len(self):
            return EVALUATED
        batch = self.batch(self.positions[:1].tolist())
        values = [value for value in tree_leaves(batch.inputs) if isinstance(value, Tensor)]
        return max(1, min(EVALUATED, AT_ONCE // max(sum(value.numel() for value in values), 1)))

    def to(self, device: torch.device) -> CollatedRows:
        """The same, batches on a device."""
        return replace(self, device=device)
