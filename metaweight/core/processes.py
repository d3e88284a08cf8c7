"""The processes that train one student together: what they tell each other, over torch.distributed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from metaweight.core.errors import LostProcessError
from metaweight.core.sums import Summing

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of a group, each with the same student and a part of each batch.

    All make the same calls in the same order; nothing is sent where there is one.
    """

    group: Any = None
    """A ``torch.distributed`` process group; None: this process is alone."""

    @staticmethod
    def at_hand(group: Any = None) -> Processes:
        """Those of ``group``; None: of the group that is up by default, where one is."""
        if not dist.is_available() or not dist.is_initialized():
            return ALONE
        group = group or dist.group.WORLD
        return ALONE if dist.get_world_size(group) == 1 else Processes(group)

    def __deepcopy__(self, memo: dict[int, Any]) -> Processes:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Processes, ()  # a group belongs to a run

    @cached_property
    def size(self) -> int:
        """How many there are."""
        return 1 if self.group is None else dist.get_world_size(self.group)

    @cached_property
    def rank(self) -> int:
        """Which of them this is, from 0."""
        return 0 if self.group is None else dist.get_rank(self.group)

    @cached_property
    def device(self) -> torch.device:
        """Where small numbers travel from."""
        return torch.device("cuda" if dist.get_backend(self.group) == "nccl" else "cpu")

    def told(self, numbers: Sequence[int]) -> list[list[int]]:
        """What each process says, as many whole numbers each: by rank."""
        if self.size == 1:
            return [list(numbers)]
        own = torch.tensor(numbers, dtype=torch.int64, device=self.device)
        everyone = [torch.empty_like(own) for _ in range(self.size)]
        with self.in_touch():
            dist.all_gather(everyone, own, group=self.group)
        return [list(map(int, one)) for one in torch.stack(everyone).tolist()]

    def any(self, flag: bool) -> bool:
        """Whether it holds of one of them at least."""
        return flag if self.size == 1 else any(said for (said,) in self.told([int(flag)]))

    def gathered(self, value: Tensor, rows: Sequence[int]) -> list[Tensor]:
        """The tensors [rows[rank], ...] of all processes, alike in all other dimensions, by rank."""
        if self.size == 1:
            return [value]
        sent = _filled_up(value, max(rows))
        everyone = [torch.empty_like(sent) for _ in rows]
        # as bytes: no backend knows all types
        with self.in_touch():
            dist.all_gather([_bytes(one) for one in everyone], _bytes(sent), group=self.group)
        return [one[:count] for one, count in zip(everyone, rows, strict=True)]

    def put_together(self, value: Tensor, rows: Sequence[int]) -> Tensor:
        """The tensors [rows[rank], ...] of all processes, one after the other [sum(rows), ...]."""
        if self.size == 1:
            return value
        most = max(rows)
        whole = value.new_empty(self.size * most, *value.shape[1:])
        with self.in_touch():
            _by_name("all_gather_single", "all_gather_into_tensor")(
                whole, _filled_up(value, most), group=self.group
            )
        if sum(rows) == len(whole):
            return whole
        return torch.cat([part[:count] for part, count in zip(whole.split(most), rows, strict=True)])

    def scattered(self, value: Tensor, rows: Sequence[int]) -> Tensor:
        """This process's rows [rows[rank], ...] of the sum over all of their ``value`` [sum(rows), ...]."""
        if self.size == 1:
            return value
        most = max(rows)
        padded = torch.cat([_filled_up(part, most) for part in value.split(list(rows))])
        total = value.new_empty(most, *value.shape[1:])
        with self.in_touch():
            _by_name("reduce_scatter_single", "reduce_scatter_tensor")(total, padded, group=self.group)
        return total[: rows[self.rank]]

    def summed(
        self, own: Mapping[str, Tensor], like: Mapping[str, Tensor], factor: float
    ) -> dict[str, Tensor]:
        """The sum over all processes of ``factor`` times their tensors, detached, by name.

        ``like``: name -> a tensor of that shape, the same names everywhere.  A name that no process has is
        left out; where one lacks a name, that counts as 0.
        """
        summing = Summing(self, like, factor)
        for name in like:
            if name in own:
                summing.add(name, own[name])
        return summing.total()

    def from_first(self, make: Callable[[], T]) -> T:
        """What ``make`` gives in rank 0, in all; an error that it raises there is raised in all."""
        if self.size == 1:
            return make()
        said: list[Any] = [None]
        if self.rank == 0:
            try:
                said = [(make(), None)]
            except Exception as error:
                said = [(None, error)]
        with self.in_touch():
            dist.broadcast_object_list(said, group=self.group, group_src=0)
        value, failure = said[0]
        if failure is not None:
            raise failure
        return cast(T, value)

    def of_all(self, value: T) -> list[T]:
        """What each has, by rank; anything that can be pickled."""
        if self.size == 1:
            return [value]
        everyone: list[Any] = [None] * self.size
        with self.in_touch():
            dist.all_gather_object(everyone, value, group=self.group)
        return everyone

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Make these tensors, in place, those of rank 0."""
        if self.size > 1:
            with self.in_touch():
                for tensor in tensors:
                    dist.broadcast(tensor.detach(), group=self.group, group_src=0)

    @contextmanager
    def in_touch(self) -> Iterator[None]:
        """Raise LostProcessError where another process does not answer."""
        try:
            yield
        except RuntimeError as error:
            raise LostProcessError(
                f"process {self.rank} of {self.size} has lost another one, which has ended or has not "
                f"answered in time ({str(error).strip().splitlines()[0][:120]})"
            ) from error


ALONE = Processes()
"""One process, in no group."""


def _by_name(name: str, older: str) -> Callable[..., Any]:
    """A function of torch.distributed that had another name before 2.13."""
    function: Callable[..., Any] = getattr(dist, name, None) or getattr(dist, older)
    return function


def _filled_up(value: Tensor, rows: int) -> Tensor:
    """``value`` [n, ...] in one piece of memory with so many rows; the last ones are 0."""
    if len(value) == rows:
        return value.contiguous()
    full = value.new_zeros(rows, *value.shape[1:])
    full[: len(value)] = value
    return full


def _bytes(value: Tensor) -> Tensor:
    return value.reshape(-1).view(torch.uint8)
