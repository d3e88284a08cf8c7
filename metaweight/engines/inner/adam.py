"""torch.optim.Adam and AdamW as a pure update."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metaweight.engines.inner.rules import Options, State, register
from metaweight.engines.inner.states import count


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
    step = count(state)
    rate, rest = lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
    plain = not isinstance(rate, Tensor) and not isinstance(rest, Tensor)
    if "exp_avg" in state and not options["amsgrad"] and plain:
        value, mean, square = _WarmStep.apply(  # type: ignore[no-untyped-call]
            parameter,
            gradient,
            state["exp_avg"],
            state["exp_avg_sq"],
            (beta1, beta2, rate, rest, options["eps"], options.get("eps_root", 0.0)),
        )
        return value, {**state, "step": step, "exp_avg": mean, "exp_avg_sq": square}
    mean = mean_of(gradient, state.get("exp_avg"), beta1)
    square = square_of(gradient, state.get("exp_avg_sq"), beta2)
    after: dict[str, Any] = {**state, "step": step, "exp_avg": mean, "exp_avg_sq": square}
    if options["amsgrad"]:
        largest = state.get("max_exp_avg_sq")
        square = after["max_exp_avg_sq"] = square if largest is None else torch.maximum(largest, square)
    deviation = root(square + options.get("eps_root", 0.0)) / rest + options["eps"]
    return stepped(parameter, rate, mean, deviation), after


register(torch.optim.Adam, adam, elementwise=True)
# the AdamW of older torch is no Adam and has no option for its decay
register(torch.optim.AdamW, adam, options={"decoupled_weight_decay": True}, elementwise=True)


def root(square: Tensor) -> Tensor:
    """The square root of a mean of squares, with slope 0 at 0.

    Its slope is infinite there and 0 * inf is NaN; at a zero gradient the true slope of this path is 0.
    """
    nothing = square == 0
    return torch.where(nothing, 1.0, square).sqrt().where(~nothing, 0.0)


def mean_of(gradient: Tensor, before: Tensor | None, beta: float | Tensor) -> Tensor:
    """The decaying mean of gradients, by torch's own operation: the same to the last bit."""
    before = torch.zeros_like(gradient) if before is None else before
    share = 1 - beta
    # lerp takes a tensor of its own precision alone
    return torch.lerp(before, gradient, share.to(gradient.dtype) if isinstance(share, Tensor) else share)


def square_of(gradient: Tensor, before: Tensor | None, beta: float | Tensor) -> Tensor:
    """The decaying mean of squared gradients, likewise."""
    before = torch.zeros_like(gradient) if before is None else before * beta
    if isinstance(beta, Tensor):
        return before + (1 - beta) * gradient * gradient
    return before.addcmul(gradient, gradient, value=1 - beta)


def stepped(
    parameter: Tensor, rate: float | Tensor, direction: Tensor, deviation: Tensor | None = None
) -> Tensor:
    """The parameter after a step of ``rate`` along ``direction``, over ``deviation`` where there is one."""
    if isinstance(rate, Tensor):
        return parameter - rate * (direction if deviation is None else direction / deviation)
    if deviation is None:
        return parameter.add(direction, alpha=-rate)
    return parameter.addcdiv(direction, deviation, value=-rate)


class _WarmStep(torch.autograd.Function):
    """Every step but the first, and its vector-Jacobian product by hand: half the time of autograd's.

    (parameter, gradient, mean, square) -> (moved parameter, new mean, new square), all of one shape.
    """

    @staticmethod
    def forward(
        ctx: Any, parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, numbers: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        beta1, beta2, rate, rest, eps, eps_root = numbers
        mean = torch.lerp(mean, gradient, 1 - beta1)
        square = (square * beta2).addcmul_(gradient, gradient, value=1 - beta2)
        deviation = (square + eps_root).sqrt_() if eps_root else square.sqrt()
        root = (deviation / rest).add_(eps)
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
        beta1, beta2, rate, rest, eps, _ = ctx.numbers
        if d_moved is not None:
            root = (deviation / rest).add_(eps)
            quotient = d_moved / root
            # d moved / d square = rate * mean / root^2 / (2 rest deviation), 0 at no deviation
            through = (quotient * mean).div_(root).div_(deviation).mul_(rate / rest / 2)
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
