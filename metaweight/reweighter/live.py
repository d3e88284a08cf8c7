"""What an iteration does to the live student and its optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.contracts import Batch, Forward, NonFiniteError, StudentState
from metaweight.core.randomness import forked_rng
from metaweight.engines.base import HyperGradient
from metaweight.engines.checks import checked_weights, require_finite
from metaweight.engines.window import Rates
from metaweight.student.student import Student
from metaweight.teachers.base import Teacher


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


@torch.no_grad()
def weights_of(teacher: Teacher, state: StudentState) -> Tensor:
    """The teacher's weights [U] of a state, without a graph."""
    return checked_weights(teacher(state), state.index)


def update(teacher: Teacher, optimizer: Optimizer, learned: Sequence[Tensor], result: HyperGradient) -> None:
    """One step along a hypergradient of the parameters ``learned``; then the teacher sees its source."""
    assert result.meta_state is not None
    for parameter, grad in zip(learned, result.grads, strict=True):
        parameter.grad = grad
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for index, slopes in zip(result.index, result.slopes, strict=True):
        teacher.take_hypergradient(index, slopes)
    teacher.observe(result.meta_state)
