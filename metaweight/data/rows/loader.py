"""RowsLoader: batches of rows as a pure function of (seed, epoch, position)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.data.epochs import ByRow, EpochOrder
from metaweight.data.items import BatchPlace

EVALUATED = 4096
"""Rows of a batch that is not trained on, where rows are short."""
ALL = slice(None)
IGNORED = -100
"""The target of what is no token: of rows of tokens the targets [N, T] are right-padded with it."""


class Inputs(Protocol):
    """What a student is called with, of N rows."""

    def __len__(self) -> int:
        """N."""
        ...

    def select(
        self, positions: Tensor, rows: slice = ALL, place: BatchPlace | None = None
    ) -> tuple[Tensor, ...] | Mapping[str, Tensor]:
        """Arguments, or keyword arguments, for those ``rows`` of the batch at ``positions`` [n] int64, as
        they are in the whole of it.  ``place``: what draws depend on, of rows that are read anew each time.
        """
        ...

    @property
    def at_once(self) -> int:
        """Rows of a batch that is not trained on."""
        ...

    def to(self, device: torch.device) -> Inputs:
        """The same on a device."""
        ...


@dataclass(frozen=True, eq=False)
class TensorRows:
    """Rows that are tensors [N, ...], an argument each."""

    tensors: tuple[Tensor, ...]

    def __len__(self) -> int:
        """N."""
        return len(self.tensors[0])

    def select(
        self, positions: Tensor, rows: slice = ALL, place: BatchPlace | None = None
    ) -> tuple[Tensor, ...]:
        """[n, ...] each."""
        return tuple(value[positions[rows]] for value in self.tensors)

    @property
    def at_once(self) -> int:
        """Rows of a batch that is not trained on."""
        return EVALUATED

    def to(self, device: torch.device) -> TensorRows:
        """The same on a device."""
        return TensorRows(tuple(value.to(device) for value in self.tensors))


class RowsLoader(ByRow):
    """Batches of the rows at ``positions`` [n] int64 of ``inputs`` (N rows) and ``targets`` [N, ...].

    ``index`` [n] is what a batch calls them by; default: their positions.  Every row is seen once an epoch:
    an epoch has as few batches as hold at most ``batch_size`` rows each, and their sizes differ by one at
    most, so that none is left with a row or two.  Epoch e has an order drawn from (seed, e).  Targets of
    tokens [N, T] int64 are as wide in a batch as its longest row.
    Raises ValueError for lengths that differ, no row and a batch size below 1.
    """

    def __init__(
        self,
        inputs: Inputs,
        targets: Tensor,
        positions: Tensor,
        *,
        index: Tensor | None = None,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        index = positions if index is None else index
        if len(inputs) != len(targets) or len(positions) != len(index) or len(positions) == 0:
            lengths = len(inputs), len(targets), len(positions), len(index)
            raise ValueError(
                "inputs and targets have one length, positions and index another, 1 or more, got "
                f"{', '.join(map(str, lengths))}"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size is 1 or more, got {batch_size}")
        self._device = torch.device(device if device is not None else "cpu")
        self._inputs, self._targets = inputs.to(self._device), targets.to(self._device)
        self._positions, self._index = positions.to(self._device), index.to(self._device)
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self._batches = -(-len(positions) // batch_size)
        self._order = EpochOrder(len(positions), shuffle=shuffle, seed=seed, device=self._device)
        super().__init__()

    def __len__(self) -> int:
        """Batches an epoch."""
        return self._batches

    def rows(self, epoch: int, position: int) -> int:
        """How many a batch has."""
        first, end = self._span(position)
        return end - first

    def read(self, epoch: int, position: int, rows: slice) -> Batch:
        """Those rows of a batch, as wide as the whole of it: processes wait for the longest row anyway."""
        first, end = self._span(position)
        picked = self._order.of(epoch)[first:end]
        places = self._positions[picked]
        inputs = self._inputs.select(places, rows, BatchPlace(self.seed, epoch, position))
        return Batch(inputs, without_padding(self._targets[places])[rows], self._index[picked[rows]])

    def _span(self, position: int) -> tuple[int, int]:
        """Where a batch begins and ends in the order of its epoch."""
        rows = len(self._positions)
        return rows * position // self._batches, rows * (position + 1) // self._batches


def fitting_batch(rows: int) -> int:
    """Rows of a training batch where nobody says how many: a twentieth of ``rows``, 16 to 1,024."""
    return min(max(rows // 20, 16), 1024)


def without_padding(targets: Tensor) -> Tensor:
    """Targets of tokens [n, T] int64 without the last columns that are ``IGNORED`` in all rows; others as
    they are."""
    if targets.dim() != 2 or targets.is_floating_point():
        return targets
    return targets[:, : int((targets != IGNORED).sum(dim=1).max())]
