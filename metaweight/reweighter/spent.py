"""Which gradients of parameters a step has used, and which have been gathered since."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from metaweight.core.shards import is_sharded, own_shard
from metaweight.engines.inner import Observer


class Spent(Observer):
    """Remembers the gradients that an optimizer's step found, whoever called it.

    A gradient counts as gathered, and is never thrown away, from the backward that made it or added to it
    until the next step.
    """

    def __init__(self, optimizer: Optimizer, parameters: Iterable[Tensor]) -> None:
        self._spent: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self.mark(parameters)  # of steps from before
        optimizer.register_step_post_hook(self)

    def __call__(self, optimizer: Optimizer, *_: Any) -> None:
        self.mark(p for group in optimizer.param_groups for p in group["params"])

    def mark(self, parameters: Iterable[Tensor]) -> None:
        """These parameters' gradients are used up."""
        for p in parameters:
            if p.grad is not None:
                self._spent[id(p)] = weakref.ref(p.grad), _version(p.grad)

    def gathered(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """Name -> gradient that no step has used."""
        return {
            name: own_shard(p.grad)
            for name, p in parameters.items()
            if p.grad is not None and not self._is_spent(p, p.grad)
        }

    def drop(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Take the used ones away."""
        for p in parameters.values():
            if p.grad is not None and self._is_spent(p, p.grad):
                p.grad = None

    def _is_spent(self, p: nn.Parameter, grad: Tensor) -> bool:
        if id(p) not in self._spent:
            return False
        held, version = self._spent[id(p)]
        return held() is grad and _version(grad) == version


def _version(grad: Tensor) -> int:
    """How often it was changed in place; torch adds to the shards of a sharded one."""
    return (own_shard(grad) if is_sharded(grad) else grad)._version
