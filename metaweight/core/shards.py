"""This process's shard of a tensor that is spread over processes (``DTensor``)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metaweight.core.processes import Processes


def is_sharded(value: object) -> bool:
    """Whether ``value`` is a DTensor."""
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
