"""torch.optim.Adam and AdamW as pure updates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metaweight.engines.inner.base import Options, State, register_rule


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
    rate, scale = lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
    if "exp_avg" in state and not options["amsgrad"] and not isinstance(rate, Tensor):
        value, mean, square = _WarmStep.apply(  # type: ignore[no-untyped-call]
            parameter,
            gradient,
            state["exp_avg"],
            state["exp_avg_sq"],
            (beta1, beta2, rate, scale, options["eps"], options.get("eps_root", 0.0)),
        )
        return value, {**state, "step": step, "exp_avg": mean, "exp_avg_sq": square}
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
    root = _sqrt(square + options.get("eps_root", 0.0)) * scale + options["eps"]
    return parameter - rate * mean / root, after


def _sqrt(square: Tensor) -> Tensor:
    # sqrt has infinite slope at 0 and 0 * inf is NaN; at a zero gradient the true slope of this path is 0
    positive = square > 0
    return torch.where(positive, square, 1.0).sqrt().where(positive, 0.0)


class _WarmStep(torch.autograd.Function):
    """Every step but the first, and its vector-Jacobian product by hand: half the time of autograd's.

    (parameter, gradient, mean, square) -> (moved parameter, new mean, new square), all of one shape.
    """

    @staticmethod
    def forward(
        ctx: Any, parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, numbers: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        beta1, beta2, rate, scale, eps, eps_root = numbers
        mean = torch.lerp(mean, gradient, 1 - beta1)
        square = (square * beta2).addcmul_(gradient, gradient, value=1 - beta2)
        deviation = (square + eps_root).sqrt_() if eps_root else square.sqrt()
        root = (deviation * scale).add_(eps)
        ctx.save_for_backward(gradient, mean, deviation)
        ctx.numbers = numbers
        ctx.set_materialize_grads(False)
        return parameter.addcdiv(mean, root, value=-rate), mean, square

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_moved: Tensor | None, d_mean: Tensor | None, d_square: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        gradient, mean, deviation = ctx.saved_tensors
        beta1, beta2, rate, scale, eps, _ = ctx.numbers
        if d_moved is not None:
            root = (deviation * scale).add_(eps)
            quotient = d_moved / root
            # d moved / d square = rate * mean / root^2 * scale / (2 deviation), 0 at no deviation
            through = (quotient * mean).div_(root).div_(deviation).mul_(rate * scale / 2)
            through.masked_fill_(deviation == 0, 0.0)
            d_square = through if d_square is None else through.add_(d_square)
            quotient.mul_(-rate)
            d_mean = quotient if d_mean is None else quotient.add_(d_mean)
        _, wants_gradient, wants_mean, wants_square, _ = ctx.needs_input_grad
        d_gradient = None
        if wants_gradient and d_mean is not None:
            d_gradient = d_mean * (1 - beta1)
        if wants_gradient and d_square is not None:
            d_gradient = torch.zeros_like(gradient) if d_gradient is None else d_gradient
            d_gradient.addcmul_(gradient, d_square, value=2 * (1 - beta2))
        d_mean_before = d_mean * beta1 if wants_mean and d_mean is not None else None
        d_square_before = d_square * beta2 if wants_square and d_square is not None else None
        return d_moved, d_gradient, d_mean_before, d_square_before, None
