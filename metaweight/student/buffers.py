"""Buffers of a module put back to earlier values, whatever shape they have grown to since."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


@torch.no_grad()
def put_buffers(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Give the buffers of ``module`` these values, by name; those that are saved with it and those that not.

    In place where shape, type and device are the same, for others may hold the tensor; where not, as with a
    cache that has grown, by a clone in its place, for all names that share it.  Others stay as they are.
    """
    names: dict[int, list[str]] = {}
    for name, buffer in module.named_buffers(remove_duplicate=False):
        names.setdefault(id(buffer), []).append(name)
    live = dict(module.named_buffers())
    for name, buffer in live.items():
        value = values.get(name)
        if value is None:
            continue
        if (buffer.shape, buffer.dtype, buffer.device) == (value.shape, value.dtype, value.device):
            buffer.copy_(value)
            continue
        own = value.detach().clone()
        for place in names[id(buffer)]:
            owner, _, leaf = place.rpartition(".")
            setattr(module.get_submodule(owner), leaf, own)
