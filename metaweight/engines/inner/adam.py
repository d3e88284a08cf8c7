"""torch.optim.Adam and AdamW as a pure update."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metaweight.engines.inner.rules import Options, State, register
from metaweight.engines.inner.states import count

Numbers: TypeAlias = tuple[float, ...]
"""beta1, beta2, rate, rest, eps, eps_root."""
PIECE, DEVICE_PIECE = 2**16, 2**24
"""Numbers of a parameter that are gone through at once, on a CPU and elsewhere."""


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
    if not options["amsgrad"] and plain:
        value, mean, square = _Step.apply(  # type: ignore[no-untyped-call]
            parameter,
            gradient,
            state.get("exp_avg"),
            state.get("exp_avg_sq"),
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


register(torch.optim.Adam, adam, elementwise=True, flat=True)
# the AdamW of older torch is no Adam and has no option for its decay
register(torch.optim.AdamW, adam, options={"decoupled_weight_decay": True}, elementwise=True, flat=True)


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


class _Step(torch.autograd.Function):
    """A step, and its vector-Jacobian product by hand: half the time and memory of autograd's.

    (parameter, gradient, mean, square) -> (moved parameter, new mean, new square), all of one shape; mean and
    square are None before the first step.
    """

    @staticmethod
    def forward(
        ctx: Any,
        parameter: Tensor,
        gradient: Tensor,
        mean: Tensor | None,
        square: Tensor | None,
        numbers: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        _, _, rate, rest, eps, _ = numbers
        new_mean, new_square, deviation = _moments(gradient, mean, square, numbers)
        # large ones are made anew: through the meta pass they would be two more copies of the parameters
        made = (new_mean, deviation) if gradient.numel() <= PIECE else (None, None)
        ctx.save_for_backward(gradient, mean, square, *made)
        ctx.numbers = numbers
        ctx.set_materialize_grads(False)
        root = (deviation / rest).add_(eps)
        return parameter.addcdiv(new_mean, root, value=-rate), new_mean, new_square

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_moved: Tensor | None, d_mean: Tensor | None, d_square: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        gradient, *moments = ctx.saved_tensors
        beta1, beta2, *_ = ctx.numbers
        _, wants_gradient, wants_mean, wants_square, _ = ctx.needs_input_grad
        if not (wants_gradient or wants_mean or wants_square):
            return d_moved, None, None, None, None
        if d_moved is not None and d_mean is None and d_square is None and not (wants_mean or wants_square):
            return d_moved, _to_gradient(d_moved, gradient, moments, ctx.numbers), None, None, None
        if d_moved is not None:
            through_mean, through_square = _of_moments(d_moved, gradient, moments, ctx.numbers)
            d_mean = through_mean if d_mean is None else through_mean.add_(d_mean)
            d_square = through_square if d_square is None else through_square.add_(d_square)
        d_gradient = None
        if wants_gradient and d_mean is not None:
            d_gradient = d_mean * (1 - beta1)
        if wants_gradient and d_square is not None:
            d_gradient = torch.zeros_like(gradient) if d_gradient is None else d_gradient
            d_gradient.addcmul_(gradient, d_square, value=2 * (1 - beta2))
        d_mean_before = d_mean * beta1 if wants_mean and d_mean is not None else None
        d_square_before = d_square * beta2 if wants_square and d_square is not None else None
        return d_moved, d_gradient, d_mean_before, d_square_before, None


def _to_gradient(
    d_moved: Tensor, gradient: Tensor, moments: Sequence[Tensor | None], numbers: Numbers
) -> Tensor:
    """The gradient's share alone, piece by piece: what is made on the way stays in the cache."""
    beta1, beta2, *_ = numbers
    result = torch.empty_like(gradient)
    for out, d, g, *own in _pieces(result, d_moved, gradient, *moments):
        d_mean, d_square = _of_moments(d, g, own, numbers)
        torch.addcmul(d_mean.mul_(1 - beta1), g, d_square, value=2 * (1 - beta2), out=out)
    return result


def _of_moments(
    d_moved: Tensor, gradient: Tensor, moments: Sequence[Tensor | None], numbers: Numbers
) -> tuple[Tensor, Tensor]:
    """What ``d_moved`` comes to for the new mean and the new square.

    ``moments``: mean and square of before, then the new mean and the root of the new square, or twice None.
    """
    mean, square, new_mean, deviation = moments
    _, _, rate, rest, eps, _ = numbers
    if new_mean is None or deviation is None:
        new_mean, _, deviation = _moments(gradient, mean, square, numbers)
    root = (deviation / rest).add_(eps)
    quotient = d_moved / root
    # d moved / d square = rate * mean / root^2 / (2 rest deviation), 0 at no deviation
    through = (quotient * new_mean).div_(root).div_(deviation).mul_(rate / rest / 2)
    return quotient.mul_(-rate), through.masked_fill_(deviation == 0, 0.0)


def _pieces(*tensors: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Flat views on parts of them, side by side; they themselves where one cannot be seen so."""
    there = [tensor for tensor in tensors if tensor is not None]
    size = PIECE if there[0].device.type == "cpu" else DEVICE_PIECE
    if there[0].numel() <= size or not all(tensor.is_contiguous() for tensor in there):
        yield tensors
        return
    parts = [itertools.repeat(None) if t is None else t.view(-1).split(size) for t in tensors]
    yield from zip(*parts, strict=False)  # None has no end


def _moments(
    gradient: Tensor, mean: Tensor | None, square: Tensor | None, numbers: Numbers
) -> tuple[Tensor, Tensor, Tensor]:
    """(new mean, new square, root of it)."""
    beta1, beta2, *_, eps_root = numbers
    square = square_of(gradient, square, beta2)
    return mean_of(gradient, mean, beta1), square, (square + eps_root).sqrt_() if eps_root else square.sqrt()
