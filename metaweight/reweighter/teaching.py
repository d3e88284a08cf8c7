"""How a teacher learns from one hypergradient: by its parameters, or by reading the weights off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.contracts import StudentState
from metaweight.engines.base import Weigh
from metaweight.engines.checks import checked_weights
from metaweight.engines.gradient import HyperGradient
from metaweight.teachers.base import Teacher


class Teaching(Protocol):
    """What an iteration asks of the teacher."""

    def question(self, loss: Tensor) -> tuple[Weigh, Sequence[Tensor]]:
        """The weights of the virtual step for unit losses [U], and what their hypergradient is wanted for."""
        ...

    def learn(self, result: HyperGradient) -> None:
        """Take the answer; then the teacher sees the meta batch that it came from."""
        ...

    def weights(self, state: StudentState, result: HyperGradient) -> Tensor:
        """The weights [U] of the real step, once the teacher has learnt."""
        ...


@dataclass(frozen=True)
class ByParameters:
    """A teacher whose parameters take a step along their hypergradient."""

    teacher: Teacher
    optimizer: Optimizer | None
    """None where there is no parameter to train."""
    parameters: tuple[Tensor, ...]

    def question(self, loss: Tensor) -> tuple[Weigh, Sequence[Tensor]]:
        return self.teacher, self.parameters

    def learn(self, result: HyperGradient) -> None:
        assert self.optimizer is not None
        assert result.meta_state is not None
        for parameter, grad in zip(self.parameters, result.grads, strict=True):
            parameter.grad = grad
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for index, slopes in zip(result.index, result.slopes, strict=True):
            self.teacher.take_hypergradient(index, slopes)
        self.teacher.observe(result.meta_state)

    def weights(self, state: StudentState, result: HyperGradient) -> Tensor:
        return weights_of(self.teacher, state)


@dataclass(frozen=True)
class ByGradient:
    """A teacher that reads the weights off the hypergradient at zero weights.  Ren et al. (2018)."""

    teacher: Teacher

    def question(self, loss: Tensor) -> tuple[Weigh, Sequence[Tensor]]:
        zero = torch.zeros_like(loss.detach()).requires_grad_()
        return lambda _state: zero, [zero]

    def learn(self, result: HyperGradient) -> None:
        assert result.meta_state is not None
        self.teacher.observe(result.meta_state)

    def weights(self, state: StudentState, result: HyperGradient) -> Tensor:
        return checked_weights(self.teacher.from_hypergradient(result.grads[0]).detach(), state.index)


@torch.no_grad()
def weights_of(teacher: Teacher, state: StudentState) -> Tensor:
    """The teacher's weights [U] of a state, without a graph."""
    return checked_weights(teacher(state), state.index)
