"""Registers the pure updates with ``higher``, so that its Adam equals torch.optim's and AdamW works."""

from __future__ import annotations

from typing import Any

import higher.optim
from torch import Tensor
from torch.optim import Optimizer

from metaweight.engines.inner.rules import Rule, rules, step_of


def differentiable_optimizer(kind: type[Optimizer], rule: Rule) -> type[higher.optim.DifferentiableOptimizer]:
    """A ``higher`` optimizer whose step is the update of ``rule``."""

    class Differentiable(higher.optim.DifferentiableOptimizer):  # type: ignore[misc]
        def _update(self, grouped_grads: list[list[Tensor | None]], **_: Any) -> None:
            for number, (group, gradients) in enumerate(zip(self.param_groups, grouped_grads, strict=True)):
                for position, gradient in enumerate(gradients):
                    if gradient is None:
                        continue
                    state = self.state[number][position]
                    p, options = group["params"][position], {**rule.options, **group}
                    value = step_of(rule, p, options)(p, gradient, state, options)
                    group["params"][position], self.state[number][position] = value

    Differentiable.__name__ = Differentiable.__qualname__ = f"Differentiable{kind.__name__}"
    return Differentiable


def register_with_higher() -> None:
    """Make every inner rule known to ``higher`` in place of its own version of that optimizer."""
    for kind, rule in rules().items():
        higher.optim.register_optim(kind, differentiable_optimizer(kind, rule))
