"""The items of data sets as rows that a student is called with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset

from metaweight.core.batch import Batch
from metaweight.data.loaders import Collated
from metaweight.data.rows.loader import EVALUATED


@dataclass(frozen=True, eq=False)
class CollatedRows:
    """Rows of data sets laid end to end; ``positions`` [N] says which of their items each is."""

    items: ConcatDataset[Any]
    collate: Collated
    positions: Tensor
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (a value)

    def __len__(self) -> int:
        """N."""
        return len(self.positions)

    def select(
        self, positions: Tensor, among: Tensor | None = None
    ) -> tuple[Tensor, ...] | Mapping[str, Tensor]:
        """Arguments, or keyword arguments, for the rows at ``positions`` [n]; as wide as the user's own
        ``collate_fn`` makes these alone."""
        batch = self.batch(self.positions[positions.cpu()].tolist())
        return batch.kwargs or batch.args

    def batch(self, items: Sequence[int]) -> Batch:
        """The Batch of some items, by their places in the data sets end to end."""
        return self.collate([(self.items[place], place) for place in items]).to(self.device)

    @property
    def at_once(self) -> int:
        """Rows of a batch that is not trained on."""
        return EVALUATED

    def to(self, device: torch.device) -> CollatedRows:
        """The same, batches on a device."""
        return replace(self, device=device)
