"""The number of each row, on its way through a Trainer's loader and collator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

ROW = "metaweight_row"
"""The key of the row numbers in an item and in a batch."""


class NumberedRows(Dataset[dict[str, Any]]):
    """A data set of mappings whose items bear their row's number, ``rows[position]``.

    Raises TypeError for items that are no mappings.
    """

    def __init__(self, dataset: Any, rows: Sequence[int]) -> None:
        self.dataset, self.rows = dataset, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        return self._numbered(self.dataset[position], position)

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        """Several at once, which a data set on disk reads in one go."""
        several = getattr(self.dataset, "__getitems__", None)
        items = [self.dataset[place] for place in positions] if several is None else several(positions)
        return [self._numbered(item, place) for item, place in zip(items, positions, strict=True)]

    def _numbered(self, item: Any, position: int) -> dict[str, Any]:
        if not isinstance(item, Mapping):
            raise TypeError(
                f"training rows are mappings from names to values, got {type(item).__name__} at row "
                f"{self.rows[position]}"
            )
        return {**item, ROW: self.rows[position]}


class NumberedCollator:
    """A collator of items without row numbers, for items with them; its batch has them too."""

    def __init__(self, collator: Callable[[list[Any]], Any]) -> None:
        self.collator = collator

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        rows = [int(item[ROW]) for item in items]
        batch = self.collator([{name: item[name] for name in item if name != ROW} for item in items])
        return {**batch, ROW: torch.tensor(rows)}
