"""This process's shard of a tensor that is spread over processes (``DTensor``)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from metaweight.core.processes import Processes

WHOLE = frozenset({Tensor, nn.Parameter})
"""Classes of nearly all tensors that anybody asks of."""
AT_ONCE = 32 * 2**20
"""Bytes of a table that travel at once, of all processes together."""


def is_sharded(value: object) -> bool:
    """Whether ``value`` is a DTensor."""
    if type(value) in WHOLE:
        return False
    # whoever made one has imported the module, which takes as long as torch itself
    tensors = sys.modules.get("torch.distributed.tensor")
    kind = getattr(tensors, "DTensor", None)  # torch has it under this name from 2.5 on
    return kind is not None and isinstance(value, kind)


def own_shard(value: Tensor) -> Tensor:
    """The shard here, in the same memory and detached; of a tensor that is whole, that tensor detached."""
    if not is_sharded(value):
        return value.detach()
    local: Tensor = value.detach().to_local()  # type: ignore[attr-defined]
    return local


def sum_over_shards(parameters: Iterable[Tensor]) -> Callable[[Tensor], Tensor] | None:
    """The sum over processes of what each has of its shards of ``parameters``, the same in all; None where
    they are whole.  Its backward adds up what all make of the sum."""
    mesh = next((p.device_mesh for p in parameters if is_sharded(p)), None)  # type: ignore[attr-defined]
    if mesh is None:
        return None
    processes = Processes.at_hand(mesh.get_group())
    return lambda value: _Total.apply(value, processes)  # type: ignore[no-untyped-call]


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        return torch.cat(processes.gathered(value[None], [1] * processes.size)).sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pull: Tensor) -> tuple[Tensor, None]:
        return _Total.apply(pull, ctx.processes), None  # type: ignore[no-untyped-call]


def shard_lengths(rows: int, size: int) -> list[int]:
    """How many of ``rows`` rows each of ``size`` processes has in a tensor that is spread along them: blocks
    one after the other, all as long as the first, as far as rows last."""
    most = -(-rows // size)
    return [max(0, min(most, rows - rank * most)) for rank in range(size)]


def of_blocks(own: Tensor, rows: int, processes: Processes) -> Tensor:
    """The DTensor [rows, ...] of which each process has its block (``shard_lengths``) in ``own``; sends
    nothing."""
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor, Shard

    mesh = DeviceMesh.from_group(processes.group, own.device.type)
    shape = torch.Size((rows, *own.shape[1:]))
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(own, mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)


def whole_in_first(blocks: Tensor) -> Tensor:
    """A DTensor of ``of_blocks`` put together on the first process's CPU; none of its rows in the others.

    All processes call it; a part at a time travels.
    """
    own, processes, lengths = _laid_out(blocks)
    whole = torch.empty(len(blocks) if processes.rank == 0 else 0, *own.shape[1:], dtype=own.dtype)
    for start in range(0, lengths[0], step := _rows_at_once(own, processes.size)):
        counts = [max(0, min(step, length - start)) for length in lengths]
        parts = processes.gathered(own[start : start + step], counts)
        if processes.rank == 0:
            for rank, part in enumerate(parts):
                place = rank * lengths[0] + start
                whole[place : place + len(part)] = part
    return whole


def put_from_first(blocks: Tensor, whole: Tensor | None) -> None:
    """Make a DTensor of ``of_blocks``, in place, what the first process has in ``whole``, as ``of_blocks``
    cuts it; the others give None.  All processes call it; a part at a time travels."""
    own, processes, lengths = _laid_out(blocks)
    first = processes.rank * lengths[0]
    for start in range(0, len(blocks), step := _rows_at_once(own)):
        stop = min(start + step, len(blocks))
        part = own.new_empty(stop - start, *own.shape[1:])
        if whole is not None:
            part.copy_(whole[start:stop])
        processes.broadcast([part])
        begin, end = max(start, first), min(stop, first + len(own))
        if begin < end:
            own[begin - first : end - first] = part[begin - start : end - start]


def _laid_out(blocks: Tensor) -> tuple[Tensor, Processes, list[int]]:
    processes = Processes.at_hand(blocks.device_mesh.get_group())  # type: ignore[attr-defined]
    return own_shard(blocks), processes, shard_lengths(len(blocks), processes.size)


def _rows_at_once(table: Tensor, from_each_of: int = 1) -> int:
    row = table.new_empty(1, *table.shape[1:]).nbytes
    return max(1, AT_ONCE // max(1, row * from_each_of))
