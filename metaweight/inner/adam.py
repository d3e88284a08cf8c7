"""torch.optim.Adam and AdamW as pure updates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metaweight.inner.base import Options, State, register_rule


@register_rule(torch.optim.AdamW)
@register_rule(torch.optim.Adam)
def adam(
    parameter: Tensor, gradient: Tensor, state: State, options: Options
) -> tuple[Tensor, dict[str, Any]]:
    """Adam (Kingma & Ba, 2015) and, with ``decoupled_weight_decay``, AdamW; eps where torch.optim has it.

    Differentiable in parameter, gradient and a tensor ``lr``.  Reads ``step``, ``exp_avg``,
    ``exp_avg_sq`` and ``max_exp_avg_sq``.  A parameter group may carry ``eps_root`` (default 0), which is
    added under the square root of the virtual step only: it bounds the hypergradient of the first steps,
    where the slope of the update is about lr / eps.
    """
    lr, decay, (beta1, beta2) = options["lr"], options["weight_decay"], options["betas"]
    if decay != 0 and options.get("decoupled_weight_decay", False):
        parameter = parameter * (1 - lr * decay)
    elif decay != 0:
        gradient = gradient.add(parameter, alpha=decay)
    step = float(state["step"]) + 1 if "step" in state else 1.0
    mean = (
        gradient * (1 - beta1)
        if "exp_avg" not in state
        else torch.lerp(state["exp_avg"], gradient, 1 - beta1)
    )
    square = (1 - beta2) * gradient * gradient
    if "exp_avg_sq" in state:
        square = state["exp_avg_sq"] * beta2 + square
    after: dict[str, Any] = {**state, "step": step, "exp_avg": mean, "exp_avg_sq": square}
    if options["amsgrad"]:
        largest = state.get("max_exp_avg_sq")
        square = after["max_exp_avg_sq"] = square if largest is None else torch.maximum(largest, square)
    root = _sqrt(square + options.get("eps_root", 0.0)) / (1 - beta2**step) ** 0.5 + options["eps"]
    return parameter - (lr / (1 - beta1**step)) * mean / root, after


def _sqrt(square: Tensor) -> Tensor:
    # sqrt has infinite slope at 0 and 0 * inf is NaN; at a zero gradient the true slope of this path is 0
    positive = square > 0
    return torch.where(positive, square, 1.0).sqrt().where(positive, 0.0)
