"""What the teacher saw of one inner step, and how the meta loss comes back through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metaweight.core.contracts import Forward, StudentState
from metaweight.engines.checks import checked_weights
from metaweight.student.student import Named

Weigh = Callable[[StudentState], Tensor]


@dataclass(frozen=True)
class Sight:
    """Weights with their graph to the teacher, and to its inputs where a gradient passes through these."""

    weights: Tensor
    """[U]"""
    state: StudentState
    """As the teacher saw it, detached."""
    inputs: tuple[Tensor, ...] = ()
    """Leaves in the place of ``passing`` of the state; none where the teacher's inputs are constants."""

    @staticmethod
    def of(weigh: Weigh, state: StudentState, *, through_state: bool = False) -> Sight:
        """Weigh a detached ``state``.  Raises ValueError for what cannot be weights."""
        if not through_state:
            return Sight(checked_weights(weigh(state), state.index), state)
        view = replace(
            state,
            loss=_leaf(state.loss),
            outputs=_leaf(state.outputs),
            features={name: _leaf(value) for name, value in state.features.items()},
        )
        return Sight(checked_weights(weigh(view), state.index), state, passing(view))

    def pull_back(self, slope: Tensor) -> list[Tensor | None]:
        """dL/d(inputs), given dL/dw [U]; aligned with ``inputs``."""
        if not self.inputs or not self.weights.requires_grad:
            return [None] * len(self.inputs)
        # the teacher's own gradient goes through the same graph later
        return list(
            torch.autograd.grad(self.weights, self.inputs, slope, allow_unused=True, retain_graph=True)
        )

    def through_state(
        self,
        forward: Forward,
        slope: Tensor,
        leaves: Named,
        names: Sequence[str],
        *,
        keep_graph: bool = False,
    ) -> dict[str, Tensor | None]:
        """dL/dw [U] passed on through what the teacher saw: name -> gradient, of the leaves ``names``.

        ``forward``: the pass that was seen, made of ``leaves``; ``keep_graph``: whether it is needed again.
        """
        if not self.inputs:
            return {}
        views = passing(forward.state(self.state.progress, detached=False))
        pairs = [(s, p) for s, p in zip(views, self.pull_back(slope), strict=True) if p is not None]
        if not pairs or not names:
            return {}
        outputs, pulls = zip(*pairs, strict=True)
        found = torch.autograd.grad(
            outputs, [leaves[n] for n in names], pulls, allow_unused=True, retain_graph=keep_graph
        )
        return dict(zip(names, found, strict=True))


def passing(state: StudentState) -> tuple[Tensor, ...]:
    """The parts of a state that depend on the student's parameters: loss, outputs, features."""
    return (state.loss, state.outputs, *state.features.values())


def _leaf(value: Tensor) -> Tensor:
    return value.detach().requires_grad_()
