"""TextLoader: padded batches of sentence pairs as a pure function of (seed, epoch, position)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.data.epochs import ByRow
from metaweight.data.seeding import derive
from metaweight.data.text.vocabulary import BOS, EOS, PADDING, UNKNOWN


class TextLoader(ByRow):
    """Batches of the pairs ``index`` [n] out of encoded sentences, N sources and N targets (no bos, no eos).

    A Batch has ``inputs`` = (source [B, S], shifted [B, T]), ``targets`` [B, T] and ``index`` [B], positions
    among the N; all int64, right-padded with 0 to the longest of the batch.  ``source`` and ``targets`` end
    with eos, ``shifted`` is the targets one later, after bos.  Pairs of like length share a batch: an epoch
    is cut into pools of about ``pool`` batches, each sorted by the longer side, then by the target.

    ``batch_size``: pairs a batch; each epoch draws its pools anew.
    ``max_tokens``: B * max(S, T) stays within it, eos and padding counted.  Who is in which pool is drawn
    once, so that ``len`` is the same in every epoch; pairs of equal lengths trade places in each.
    Batches come in a new random order in each epoch.  ``shuffle=False``: all pairs sorted by length, in every
    epoch alike.  ``drop_last`` (with ``batch_size``): leave n mod batch_size pairs out of each epoch, random
    ones, or the index's last without ``shuffle``.
    All batches are functions of (seed, epoch, position) alone, whatever the ``device`` (default: CPU).

    Iterating gives the next epoch each time.  Raises ValueError for lengths that differ, positions out of
    range, ids of padding, bos or eos inside a sentence, a pair longer than ``max_tokens``, and sizes that
    give no batch.
    """

    def __init__(
        self,
        source: Sequence[Sequence[int]],
        target: Sequence[Sequence[int]],
        index: Tensor,
        *,
        batch_size: int | None = None,
        max_tokens: int | None = None,
        pool: int = 20,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        if len(source) != len(target):
            raise ValueError(f"{len(source)} sources and {len(target)} targets: every pair has both sides")
        if index.dim() != 1 or index.dtype != torch.int64 or len(index) == 0:
            got = f"{index.dtype} of shape {tuple(index.shape)}"
            raise ValueError(f"index is int64 of shape [n] with n > 0, got {got}; name at least one pair")
        if int(index.min()) < 0 or int(index.max()) >= len(source):
            span = f"{int(index.min())}..{int(index.max())}"
            raise ValueError(f"index names positions 0..{len(source) - 1}, got {span}")
        if (batch_size is None) == (max_tokens is None):
            raise ValueError(
                "give batch_size (pairs) or max_tokens (padded tokens), one of them: "
                f"got {batch_size} and {max_tokens}"
            )
        if pool < 1:
            raise ValueError(f"pool is a positive number of batches, got {pool}")
        if batch_size is not None and (batch_size < 1 or (drop_last and batch_size > len(index))):
            raise ValueError(
                f"batch_size {batch_size} gives no batch of {len(index)} pairs"
                f"{' with drop_last' if drop_last else ''}; use 1..{len(index)}"
            )
        if max_tokens is not None and drop_last:
            raise ValueError(
                "drop_last goes with batch_size: with max_tokens no batch is smaller than it should be"
            )
        self.index = index
        self.batch_size, self.max_tokens, self.pool = batch_size, max_tokens, pool
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        self.device = torch.device(device if device is not None else "cpu")
        own = index.tolist()
        self._source = _Side.of([source[i] for i in own], own, "source").to(self.device)
        self._target = _Side.of([target[i] for i in own], own, "target").to(self.device)
        self._index = index.to(self.device)
        self._longest = torch.maximum(self._source.lengths, self._target.lengths)  # [n]
        # one number that sorts by the longer side, then by the target
        self._key = self._longest * (int(self._longest.max()) + 1) + self._target.lengths
        self._columns = torch.arange(int(self._longest.max()), device=self.device)
        self._pools, self._cuts = self._cut()
        super().__init__()
        self._plan: _Plan | None = None  # of the epoch asked for last

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._cuts) - 1

    def rows(self, epoch: int, position: int) -> int:
        """How many a batch has."""
        first, end, *_ = self._epoch_plan(epoch).batches[position]
        return end - first

    def read(self, epoch: int, position: int, rows: slice) -> Batch:
        """Those rows of a batch, as wide as the whole of it."""
        plan = self._epoch_plan(epoch)
        first, end, source_width, target_width = plan.batches[position]
        own = plan.order[first:end][rows]
        source = self._source.padded(own, self._columns[:source_width])
        targets = self._target.padded(own, self._columns[:target_width])
        shifted = torch.full_like(targets, BOS)
        # a shorter row's eos moves in with the pieces; it is no input of the decoder
        shifted[:, 1:] = targets[:, :-1].masked_fill(targets[:, :-1] == EOS, PADDING)
        return Batch((source, shifted), targets, self._index[own])

    def _cut(self) -> tuple[Tensor | None, list[int]]:
        """The pool of each own pair [n] where it is fixed, and where batches begin in an epoch's order."""
        size = len(self.index)
        if self.batch_size is not None:
            length = size - size % self.batch_size if self.drop_last else size
            return None, [*range(0, length, self.batch_size), length]
        assert self.max_tokens is not None
        longest = int(self._longest.max())
        if longest > self.max_tokens:
            row = int(self._longest.argmax())
            raise ValueError(
                f"pair {int(self.index[row])} has {int(self._source.lengths[row])} source and "
                f"{int(self._target.lengths[row])} target tokens with eos, more than max_tokens "
                f"{self.max_tokens}; raise max_tokens to {longest} or filter long pairs"
            )
        pools = torch.zeros(size, dtype=torch.int64)
        if self.shuffle:
            pairs = max(1, int(self.pool * self.max_tokens / float(self._longest.double().mean())))
            drawn = torch.randperm(size, generator=derive(self.seed, "pools"))
            pools[drawn] = torch.arange(size) // pairs
        order = self._sorted(torch.arange(size), pools)
        member, tokens = pools[order].tolist(), self._longest[order].tolist()
        cuts = [0]
        for row in range(1, size):
            # sorted: the newest pair is the longest
            full = (row + 1 - cuts[-1]) * tokens[row] > self.max_tokens
            if full or member[row] != member[row - 1]:
                cuts.append(row)
        return pools, [*cuts, size]

    def _sorted(self, rows: Tensor, pools: Tensor) -> Tensor:
        """``rows`` by pool, longer side and target; equals stay in the order they came in."""
        key = pools * (int(self._key.max()) + 1) + self._key
        return rows[key[rows].argsort(stable=True)]

    def _epoch_plan(self, epoch: int) -> _Plan:
        if not self.shuffle:
            epoch = 0  # one order for all
        if self._plan is None or self._plan.epoch != epoch:
            self._plan = self._make_plan(epoch)
        return self._plan

    def _make_plan(self, epoch: int) -> _Plan:
        size, used = len(self.index), self._cuts[-1]
        generator = derive(self.seed, "order", epoch)
        rows = torch.randperm(size, generator=generator) if self.shuffle else torch.arange(size)
        pools = self._pools
        if pools is None:
            assert self.batch_size is not None
            # pools are whole batches, so the cuts between them are cuts between batches too
            pools = torch.zeros(size, dtype=torch.int64)
            if self.shuffle:
                pools[rows] = torch.arange(size) // (self.pool * self.batch_size)
        order = self._sorted(rows[:used], pools)
        first, end = torch.tensor(self._cuts[:-1]), torch.tensor(self._cuts[1:])
        batch = torch.repeat_interleave(torch.arange(len(first)), end - first)

        def widths(lengths: Tensor) -> Tensor:
            return torch.zeros_like(first).scatter_reduce(0, batch, lengths[order], "amax")

        columns = [first, end, widths(self._source.lengths), widths(self._target.lengths)]
        batches = torch.stack(columns, dim=1)
        if self.shuffle:
            batches = batches[torch.randperm(len(batches), generator=generator)]
        return _Plan(epoch, order.to(self.device), batches.tolist())


@dataclass(frozen=True)
class _Plan:
    """An epoch: the own pairs in order, on the loader's device, and its batches in turn."""

    epoch: int
    order: Tensor
    batches: list[list[int]]
    """First and end within ``order``, width of the sources, width of the targets."""


@dataclass(frozen=True)
class _Side:
    """One side's sentences, eos included: all ids in a row, and where each begins.

    ``lengths`` [n] stays on the CPU, where batches are cut; the rest goes to the loader's device.
    """

    pieces: Tensor
    begins: Tensor
    ends: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, sentences: Sequence[Sequence[int]], names: Sequence[int], side: str) -> _Side:
        """Raises ValueError for an id that is no piece; ``names`` are the positions that a message gives."""
        lengths = torch.tensor([len(sentence) + 1 for sentence in sentences])
        ends = lengths.cumsum(0)
        pieces = torch.tensor([*chain.from_iterable((*sentence, EOS) for sentence in sentences)])
        inner = torch.ones_like(pieces, dtype=torch.bool)
        inner[ends - 1] = False
        wrong = inner & (pieces != UNKNOWN) & (pieces <= max(PADDING, BOS, EOS))
        if bool(wrong.any()):
            place = int(wrong.nonzero()[0])
            row = int(torch.searchsorted(ends, place, right=True))
            raise ValueError(
                f"{side} sentence {names[row]} holds id {int(pieces[place])}; give the ids of pieces alone, "
                "without padding, bos and eos"
            )
        return cls(pieces, ends - lengths, ends, lengths)

    def to(self, device: torch.device) -> _Side:
        return _Side(self.pieces.to(device), self.begins.to(device), self.ends.to(device), self.lengths)

    def padded(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The sentences ``rows`` [B] as [B, W], W = len(columns)."""
        places = self.begins[rows, None] + columns
        beyond = places >= self.ends[rows, None]
        return self.pieces[places.clamp_max(len(self.pieces) - 1)].masked_fill(beyond, PADDING)
