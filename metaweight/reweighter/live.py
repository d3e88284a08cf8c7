"""What an iteration does to the live student and its optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.contracts import Batch, Forward, NonFiniteError, StudentState
from metaweight.engines.checks import require_finite
from metaweight.engines.window import Rates
from metaweight.replay import forked_rng
from metaweight.student import Student


def real_step(
    student: Student,
    optimizer: Optimizer,
    forward: Forward,
    weights: Tensor,
    *,
    max_norm: float | None,
    gradient: Mapping[str, Tensor] | None = None,
) -> None:
    """Step on the weighted loss; ``gradient`` is its gradient by name, where an engine has it already."""
    student.module.zero_grad(set_to_none=True)
    if gradient is None:
        (weights * forward.loss).mean().backward()
    else:
        parameters = student.parameters()
        for name, value in gradient.items():
            parameters[name].grad = value
    if max_norm is not None:
        held = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(held, max_norm)
    optimizer.step()


def set_rates(optimizer: Optimizer, rates: Rates | None, number: int) -> None:
    """Give each parameter group its learning rate of the step ``number`` of a window."""
    if rates is not None:
        for group, rate in zip(optimizer.param_groups, rates[number], strict=True):
            group["lr"] = rate


def state_now(student: Student, batch: Batch, progress: float) -> StudentState:
    """The meta batch's state at the present parameters, without a trace in module or generators."""
    with torch.no_grad(), forked_rng(student.device):
        forward = student.functional(batch, {}, student.buffers())
    require_finite("meta loss", forward.loss, forward.index)
    return forward.state(progress)


@contextmanager
def statistics_kept(student: Student) -> Iterator[dict[str, Tensor]]:
    """Gives clones of the buffers; a NonFiniteError inside puts them back and leaves no gradient."""
    buffers = student.buffers()
    try:
        yield buffers
    except NonFiniteError:
        for name, buffer in student.module.named_buffers():
            buffer.copy_(buffers[name])
        student.module.zero_grad(set_to_none=True)
        raise
