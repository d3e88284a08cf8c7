"""A pass of the module inside of what Accelerate has wrapped around it for several processes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from metaweight.core.errors import MetaweightError
from metaweight.core.processes import Processes


def inside(model: nn.Module) -> nn.Module:
    """The module that a Trainer's step is given, without DistributedDataParallel around it.

    Raises MetaweightError for another wrapper of several processes.
    """
    if isinstance(model, DistributedDataParallel):
        inner: nn.Module = model.module
        return inner
    processes = Processes.at_hand().size
    if processes > 1:
        raise MetaweightError(
            f"the Trainer trains a {type(model).__name__} in {processes} processes, and metaweight follows "
            "DistributedDataParallel alone there: leave out fsdp, deepspeed and parallelism_config"
        )
    return model


def passed(model: nn.Module, call: Callable[[], Tensor]) -> Tensor:
    """``call()``, a pass of the module ``inside(model)``, taken as one of ``model``.

    DistributedDataParallel sums up gradients only after a pass of its own, which here runs ``call`` in place
    of its module.
    """
    if not isinstance(model, DistributedDataParallel):
        return call()
    inner = model.module
    model.module = _Called(call)
    try:
        loss: Tensor = model()
    finally:
        model.module = inner
    return loss


class _Called(nn.Module):
    def __init__(self, call: Callable[[], Tensor]) -> None:
        super().__init__()
        self._call = call

    def forward(self) -> Tensor:
        return self._call()
