"""What an iteration asks of the teacher and does to it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.contracts import StudentState
from metaweight.engines.base import HyperGradient
from metaweight.engines.checks import checked_weights
from metaweight.teachers.base import Teacher


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
