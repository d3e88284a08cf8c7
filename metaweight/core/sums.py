"""Sums over processes of tensors by name, which travel in buckets while others are still being made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from metaweight.core.processes import Processes

BUCKET = 32 * 2**20
"""Bytes of gradients that are sent at once: while one bucket travels the next one is packed."""


class Summing:
    """The sum over all processes of ``factor`` times their tensors, detached, by name.

    ``like``: name -> a tensor of that shape, the same names everywhere; the last ones go first, as a backward
    makes them.  All processes send the same buckets in the same order, whichever of their tensors is there.
    """

    def __init__(self, processes: Processes, like: Mapping[str, Tensor], factor: float) -> None:
        self._processes, self._like, self._factor = processes, like, factor
        self._buckets = [_Bucket(like, names) for names in _by_bucket(like)]
        self._bucket_of = {name: bucket for bucket in self._buckets for name in bucket.names}
        self._sent = 0

    def add(self, name: str, value: Tensor) -> None:
        """What this process has of ``name``; a bucket that is full travels when those before it have gone."""
        self._bucket_of[name].take(name, value)
        while self._sent < len(self._buckets) and self._buckets[self._sent].full:
            self._send()

    def total(self) -> dict[str, Tensor]:
        """The sums, in the order of ``like``.  A name that no process has is left out; where one lacks a
        name, that counts as 0."""
        while self._sent < len(self._buckets):
            self._send()
        with self._processes.in_touch():
            for bucket in self._buckets:
                bucket.work.wait()
        if not self._buckets:
            return {}
        if all(bucket.full for bucket in self._buckets):
            # what this process has is in the sum: it need not wait for the device to know
            return {name: self._bucket_of[name].value(name) for name in self._like}
        first = self._buckets[0].there
        # one read for all
        there = torch.cat([bucket.there.to(first.device, torch.float32) for bucket in self._buckets]).tolist()
        names = [name for bucket in self._buckets for name in bucket.names]
        found = {name for name, known in zip(names, there, strict=True) if known}
        return {name: self._bucket_of[name].value(name) for name in self._like if name in found}

    def _send(self) -> None:
        bucket = self._buckets[self._sent]
        with self._processes.in_touch():
            bucket.close()
            bucket.flat.mul_(self._factor)
            bucket.work = dist.all_reduce(bucket.flat, group=self._processes.group, async_op=True)
        self._sent += 1


class _Bucket:
    """One flat tensor of real numbers: the values, then for each name whether it is there."""

    def __init__(self, like: Mapping[str, Tensor], names: Sequence[str]) -> None:
        self._like, self.names = like, list(names)
        self._places: dict[str, slice] = {}
        self._length = 0
        for name in self.names:
            size = _reals(like[name]).numel()
            self._places[name] = slice(self._length, self._length + size)
            self._length += size
        self._missing = dict.fromkeys(self.names)
        self.work: Any = None

    @cached_property
    def flat(self) -> Tensor:
        return _reals(self._like[self.names[0]]).new_zeros(self._length + len(self.names))

    @property
    def there(self) -> Tensor:
        """For each name whether one of the processes has it, once the sum has come."""
        return self.flat[self._length :]

    @property
    def full(self) -> bool:
        """Whether all names have come."""
        return not self._missing

    def take(self, name: str, value: Tensor) -> None:
        del self._missing[name]  # each comes once
        self.flat[self._places[name]].copy_(_reals(value).reshape(-1))
        if not self._missing:
            self.there.fill_(1)

    def close(self) -> None:
        """What has not come is not there."""
        if self._missing:
            self.there.copy_(torch.tensor([float(name not in self._missing) for name in self.names]))

    def value(self, name: str) -> Tensor:
        real = self.flat[self._places[name]].view(_reals(self._like[name]).shape)
        return torch.view_as_complex(real) if self._like[name].is_complex() else real


def _by_bucket(like: Mapping[str, Tensor]) -> list[list[str]]:
    """Names of tensors of one type and device that travel together, the last ones first."""
    buckets: list[list[str]] = []
    room: dict[tuple[torch.dtype, torch.device], tuple[list[str], int]] = {}
    for name, value in reversed(list(like.items())):
        key = value.dtype, value.device
        names, bytes_ = room.get(key, ([], BUCKET))
        if bytes_ + value.nbytes > BUCKET:
            names, bytes_ = [], 0
            buckets.append(names)
        names.append(name)
        room[key] = names, bytes_ + value.nbytes
    return buckets


def _reals(value: Tensor) -> Tensor:
    return torch.view_as_real(value.detach().resolve_conj()) if value.is_complex() else value.detach()
