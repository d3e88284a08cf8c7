"""Rows of different lengths, kept without padding and padded when they are picked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain

import numpy as np
import torch
from torch import Tensor

from metaweight.data.items import BatchPlace

AT_ONCE = 1 << 16
"""Positions, padding counted, of a batch that is not trained on."""


@dataclass(frozen=True, eq=False)
class Ragged:
    """N rows of whole numbers, one after the other; or of vectors of F of them."""

    flat: Tensor
    """[total] or [total, F], of as few bytes a number as hold them all."""
    ends: Tensor
    """[N] int64, where each row ends."""
    padding: int = 0

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], *, padding: int = 0) -> Ragged:
        """Rows of numbers."""
        ends = torch.tensor(list(accumulate(map(len, rows))), dtype=torch.int64)
        count = int(ends[-1]) if len(ends) else 0
        return cls(_compact(np.fromiter(chain.from_iterable(rows), np.int64, count)), ends, padding)

    @classmethod
    def of_bags(cls, rows: Sequence[Sequence[Sequence[int]]]) -> Ragged:
        """Rows of bags of numbers, each bag right-padded with 0 to the largest of all."""
        bags = list(chain.from_iterable(rows))
        flat = np.zeros((len(bags), max(map(len, bags), default=1)), dtype=np.int64)
        for place, bag in enumerate(bags):
            flat[place, : len(bag)] = bag
        ends = torch.tensor(list(accumulate(map(len, rows))), dtype=torch.int64)
        return cls(_compact(flat), ends)

    def __len__(self) -> int:
        """N."""
        return len(self.ends)

    @property
    def lengths(self) -> Tensor:
        """[N] int64."""
        return self.ends.diff(prepend=self.ends.new_zeros(1))

    def padded(self, positions: Tensor, chosen: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """The ``chosen`` of the rows at ``positions`` [n], right-padded to the longest of all: [n, T, ...]
        int64.

        And which of their positions are real, [n, T] bool.
        """
        first, last = torch.where(positions > 0, self.ends[positions - 1], 0), self.ends[positions]
        starts, ends = first[chosen], last[chosen]
        places = torch.arange(int((last - first).max()), device=ends.device)
        real = places < (ends - starts)[:, None]
        shape = (*real.shape, *self.flat.shape[1:])
        rows = torch.full(shape, self.padding, dtype=torch.int64, device=ends.device)
        rows[real] = self.flat[(starts[:, None] + places)[real]].long()
        return rows, real

    def to(self, device: torch.device) -> Ragged:
        """The same on a device."""
        return replace(self, flat=self.flat.to(device), ends=self.ends.to(device))


@dataclass(frozen=True, eq=False)
class PaddedRows:
    """Ids of N texts as a model's one argument [n, T] or [n, T, F], 0 for padding."""

    ids: Ragged

    def __len__(self) -> int:
        """N."""
        return len(self.ids)

    @property
    def at_once(self) -> int:
        """Rows of a batch that is not trained on."""
        return rows_at_once(self.ids)

    def select(
        self, positions: Tensor, rows: slice = slice(None), place: BatchPlace | None = None
    ) -> tuple[Tensor, ...]:
        """Those ``rows`` of the batch at ``positions`` [n], as wide as its longest."""
        return (self.ids.padded(positions, rows)[0],)

    def to(self, device: torch.device) -> PaddedRows:
        """The same on a device."""
        return PaddedRows(self.ids.to(device))


@dataclass(frozen=True, eq=False)
class MaskedRows:
    """Ids of N texts as a Hugging Face model takes them: by keyword, with a mask.

    ``places``: of each token the position of its first piece, -1 for padding; None: a row is one unit.
    ``types``: which text of a pair a piece is of, for a model that asks.
    """

    ids: Ragged
    places: Ragged | None = None
    types: Ragged | None = None

    def __len__(self) -> int:
        """N."""
        return len(self.ids)

    @property
    def at_once(self) -> int:
        """Rows of a batch that is not trained on."""
        return rows_at_once(self.ids)

    def select(
        self, positions: Tensor, rows: slice = slice(None), place: BatchPlace | None = None
    ) -> Mapping[str, Tensor]:
        """``input_ids``, ``attention_mask`` and ``token_type_ids`` [n, S], and ``places`` [n, T]."""
        ids, real = self.ids.padded(positions, rows)
        inputs = {"input_ids": ids, "attention_mask": real.long()}
        for name, beside in (("token_type_ids", self.types), ("places", self.places)):
            if beside is not None:
                inputs[name] = beside.padded(positions, rows)[0]
        return inputs

    def to(self, device: torch.device) -> MaskedRows:
        """The same on a device."""
        beside = (None if rows is None else rows.to(device) for rows in (self.places, self.types))
        return MaskedRows(self.ids.to(device), *beside)


def rows_at_once(ids: Ragged) -> int:
    """As many rows as ``AT_ONCE`` positions have room for, where all were as long as the longest."""
    return max(16, AT_ONCE // max(int(ids.lengths.max()), 1)) if len(ids) else 16


def _compact(values: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Tensor:
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    kind = np.int16 if low >= -(2**15) and high < 2**15 else np.int32
    return torch.from_numpy(values.astype(kind))
