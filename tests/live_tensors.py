"""What tensors hold at most while something runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """``peak``: the most bytes at a time in storages that operations inside have made, and in ``held``.

    Storages below ``least`` bytes are not counted, and those of ``apart`` never are.  Inside one operation
    nothing is seen, nor what another thread makes (a backward on a GPU).
    """

    def __init__(self, *, held: list[Tensor], apart: list[Tensor], least: int) -> None:
        super().__init__()
        self.least, self.peak = least, 0
        self._apart = {tensor.untyped_storage()._cdata for tensor in apart}
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}
        self._count(held)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default and not isinstance(args[0], Tensor):
            return torch.tensor(args[0])  # a number that a tensor was multiplied by, as autograd keeps it
        out = func(*args, **(kwargs or {}))
        self._count(tree_leaves(out))
        return out

    def _count(self, values: list[Any]) -> None:
        """Take what is new; what has gone is looked for only then, for else there is no new peak."""
        storages = (v.untyped_storage() for v in values if isinstance(v, Tensor) and v.device.type != "meta")
        new = {s._cdata: s for s in storages if s.nbytes() >= self.least and s._cdata not in self._apart}
        if not new:
            return
        self._live = {key: one for key, one in self._live.items() if not one[0].expired()}
        for key, storage in new.items():
            self._live.setdefault(key, (StorageWeakRef(storage), storage.nbytes()))
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))


def held_by(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Parameters of an optimizer and what it remembers of them."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    states = [v for state in optimizer.state.values() for v in state.values()]
    return parameters + [value for value in states if isinstance(value, Tensor)]
