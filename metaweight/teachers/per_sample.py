"""Tables with a row for each sample of the data set, whose rows several processes share out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from metaweight.core.errors import MetaweightError
from metaweight.core.processes import ALONE, Processes
from metaweight.core.reads import doubt
from metaweight.core.shards import is_sharded, of_blocks, own_shard, shard_lengths

SHARED_FROM = 2**23
"""Bytes that a store's tables have in all, from which on several processes share their rows out."""


class PerSample(nn.Module):
    """What a teacher remembers of every sample: tables [samples, ...] by name, which are its buffers.

    ``rows``: name -> the row [...] that each sample has at first.  ``processes`` (``StateSpec.processes``)
    that train together hold a block of rows each, one after the other, where the tables have 8 MiB or more
    (``SHARED_FROM``); smaller ones are whole in all.  What is read and what is written is the same in both
    ways, to the bit.  The tables in a ``state_dict`` have all rows, as DTensors where they are shared out;
    loading takes the own rows of such, or of whole tables.
    """

    def __init__(self, samples: int, rows: Mapping[str, Tensor], processes: Processes = ALONE) -> None:
        super().__init__()
        self.samples = samples
        large = samples * sum(row.nbytes for row in rows.values()) >= SHARED_FROM
        self.processes = processes if large else ALONE
        self._lengths = shard_lengths(samples, self.processes.size)
        for name, row in rows.items():
            self.register_buffer(name, row.repeat(self._lengths[self.processes.rank], *[1] * row.dim()))

    @property
    def shared(self) -> bool:
        """Whether this process holds a block of the rows only."""
        return len(self._lengths) > 1

    def read(self, index: Tensor) -> dict[str, Tensor]:
        """Rows [U, ...] of the samples ``index`` [U] by table, as copies; all processes ask for the same.

        Raises ValueError for a sample that there is not.
        """
        index = self._known(index)
        _, places = self.own(index, ask=False)
        rows = {name: table[places] for name, table in self.named_buffers(recurse=False)}
        if not self.shared:
            return rows
        owners = index // self._lengths[0]
        counts = owners.bincount(minlength=len(self._lengths)).tolist()
        by_owner = torch.cat(self.processes.gathered(_packed(rows.values()), counts))
        found = torch.empty_like(by_owner)
        found[owners.argsort(stable=True)] = by_owner
        return dict(zip(rows, _unpacked(found, rows.values()), strict=True))

    @torch.no_grad()
    def write(self, index: Tensor, **rows: Tensor) -> None:
        """Put ``rows`` [S, ...] by table in the places of the samples ``index`` [S], all different; all
        processes are to write the same.  Raises as ``read``."""
        here, places = self.own(index)
        for name, value in rows.items():
            table = self.get_buffer(name)
            table[places] = value[here].to(table)

    def own(self, index: Tensor, *, ask: bool = True) -> tuple[Tensor | slice, Tensor]:
        """Which of the samples ``index`` [U] this process keeps, to index what is [U, ...], and the places of
        these in its tables.  Raises as ``read``; without ``ask``, for samples that were read in the same
        iteration, nothing is raised, and others than there are have any place."""
        index = self._known(index) if ask else index.clamp(0, self.samples - 1)
        if not self.shared:
            return slice(None), index
        rank = self.processes.rank
        places = index - rank * self._lengths[0]
        here = (places >= 0) & (places < self._lengths[rank])
        return here, places[here]

    def _known(self, index: Tensor) -> Tensor:
        """``index`` within the tables; that it was so is asked when doubts are settled."""
        if self.processes.size != len(self._lengths):
            raise MetaweightError(
                f"this teacher remembers a part of the {self.samples} samples, and the processes with the "
                "others are not here: keep its state_dict (metaweight.save_checkpoint), not the object"
            )
        beyond = (index < 0) | (index >= self.samples)

        def fail() -> None:
            least, most = (int(end) for end in index.aminmax())
            raise ValueError(
                f"sample {least if least < 0 else most} lies beyond the {self.samples} samples that the "
                "teacher was built for: student.spec(batch, samples=N) names one more than the largest index"
            )

        doubt(beyond.any(), fail)
        return index.clamp(0, self.samples - 1)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.shared:
            for name, table in self.named_buffers(recurse=False):
                destination[prefix + name] = of_blocks(table, self.samples, self.processes)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        for name, _ in self.named_buffers(recurse=False):
            if prefix + name in state_dict:  # the dict is torch's own copy
                state_dict[prefix + name] = self._block(state_dict[prefix + name])
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _block(self, table: Any) -> Tensor:
        """This process's rows of a table that is whole, or shared out in the same way."""
        if is_sharded(table):
            self._require_same_layout(table.device_mesh)
            return own_shard(table)
        whole: Tensor = table
        return whole.split(self._lengths)[self.processes.rank] if len(whole) == self.samples else whole

    def _require_same_layout(self, mesh: Any) -> None:
        """Raise MetaweightError for the rows of another process, as a file has them that one has written."""
        (rank,) = mesh.get_coordinate() or (None,)
        if (mesh.size(), rank) != (len(self._lengths), self.processes.rank):
            raise MetaweightError(
                f"these are the rows that process {rank} of {mesh.size()} remembers, and this is process "
                f"{self.processes.rank} of {len(self._lengths)}: let all of them call "
                "metaweight.save_checkpoint, which keeps those of all"
            )


def held_alike(module: nn.Module) -> Iterator[Tensor]:
    """The buffers of a module that all processes hold whole."""
    for part in module.modules():
        if not (isinstance(part, PerSample) and part.shared):
            yield from part.buffers(recurse=False)


def _packed(tables: Iterable[Tensor]) -> Tensor:
    """Rows [n, ...] of each as bytes [n, ...], side by side: one message instead of several."""
    flat = (rows.reshape(len(rows), math.prod(rows.shape[1:])) for rows in tables)
    return torch.cat([rows.view(torch.uint8) for rows in flat], dim=1)


def _unpacked(packed: Tensor, like: Iterable[Tensor]) -> list[Tensor]:
    """Rows as ``_packed`` has them, of types and shapes as in ``like``."""
    like = list(like)
    widths = [math.prod(rows.shape[1:]) * rows.element_size() for rows in like]
    # copies begin where a number of any type may
    parts = [part.clone(memory_format=torch.contiguous_format) for part in packed.split(widths, dim=1)]
    pairs = zip(parts, like, strict=True)
    return [part.flatten().view(rows.dtype).view(-1, *rows.shape[1:]) for part, rows in pairs]
