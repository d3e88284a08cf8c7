"""TableLoader: batches of encoded rows as a pure function of (seed, epoch, position)."""

from __future__ import annotations

import torch
from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.data.epochs import Epochs
from metaweight.data.seeding import derive


class TableLoader(Epochs):
    """Batches of n rows: ``inputs`` are tensors [n, ...], ``targets`` [n, ...], ``index`` [n] int64.

    ``index`` is each row's position in the whole data set.  Every row is seen once an epoch: an epoch has as
    few batches as hold at most ``batch_size`` rows each, and their sizes differ by one at most, so that none
    is left with a row or two.  Epoch e has the order of a permutation drawn from (seed, e).
    Raises ValueError for lengths that differ, no row and a batch size below 1.
    """

    def __init__(
        self,
        inputs: tuple[Tensor, ...],
        targets: Tensor,
        index: Tensor,
        *,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        lengths = [len(value) for value in (*inputs, targets, index)]
        if len(set(lengths)) != 1 or lengths[0] == 0:
            raise ValueError(f"inputs, targets and index have one length, 1 or more, got {lengths}")
        if batch_size < 1:
            raise ValueError(f"batch_size is 1 or more, got {batch_size}")
        self._inputs = tuple(value.to(device) for value in inputs)
        self._targets, self._index = targets.to(device), index.to(device)
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self._batches = -(-lengths[0] // batch_size)
        self._order: tuple[int, Tensor] | None = None  # of the epoch asked for last
        super().__init__()

    def __len__(self) -> int:
        """Batches an epoch."""
        return self._batches

    def batch(self, epoch: int, position: int) -> Batch:
        """The ``position``-th batch of an epoch, both from 0.  Raises IndexError beyond the epoch's end."""
        self.check_position(epoch, position)
        rows = len(self._index)
        first, end = (rows * place // self._batches for place in (position, position + 1))
        picked = self._epoch_order(epoch)[first:end]
        inputs = tuple(value[picked] for value in self._inputs)
        return Batch(inputs, self._targets[picked], self._index[picked])

    def _epoch_order(self, epoch: int) -> Tensor:
        """The rows [n] in the order of an epoch, on the loader's device."""
        if not self.shuffle:
            epoch = 0  # one order for all
        if self._order is None or self._order[0] != epoch:
            size = len(self._index)
            generator = derive(self.seed, "order", epoch)
            order = torch.randperm(size, generator=generator) if self.shuffle else torch.arange(size)
            self._order = (epoch, order.to(self._index.device))
        return self._order[1]
