"""torch.optim's steps over the root of gathered squares, RMSprop, Adagrad and Adadelta, as pure updates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metaweight.engines.inner.adam import mean_of, root, square_of, stepped
from metaweight.engines.inner.rules import Options, State, register
from metaweight.engines.inner.states import count


def rmsprop(
    parameter: Tensor, gradient: Tensor, state: State, options: Options
) -> tuple[Tensor, dict[str, Any]]:
    """RMSprop (Hinton, 2012), centred (Graves, 2013), with momentum; eps where torch.optim has it.

    Reads ``step``, ``square_avg``, ``grad_avg`` and ``momentum_buffer``.
    """
    gradient = _decayed(parameter, gradient, options)
    alpha = options["alpha"]
    square = square_of(gradient, state.get("square_avg"), alpha)
    after: dict[str, Any] = {**state, "step": count(state), "square_avg": square}
    if options["centered"]:
        mean = after["grad_avg"] = mean_of(gradient, state.get("grad_avg"), alpha)
        square = square.addcmul(mean, mean, value=-1)
    deviation = root(square) + options["eps"]
    if options["momentum"] == 0:
        return stepped(parameter, options["lr"], gradient, deviation), after
    buffer = state.get("momentum_buffer")
    buffer = torch.zeros_like(gradient) if buffer is None else buffer * options["momentum"]
    buffer = after["momentum_buffer"] = buffer.addcdiv(gradient, deviation)
    return stepped(parameter, options["lr"], buffer), after


def adagrad(
    parameter: Tensor, gradient: Tensor, state: State, options: Options
) -> tuple[Tensor, dict[str, Any]]:
    """Adagrad (Duchi, Hazan & Singer, 2011).  Reads ``step`` and ``sum``."""
    gradient = _decayed(parameter, gradient, options)
    step = count(state)
    before = state.get("sum")
    if before is None:
        before = torch.full_like(gradient, options["initial_accumulator_value"])
    total = before.addcmul(gradient, gradient, value=1)
    rate = options["lr"] / (1 + (step - 1) * options["lr_decay"])
    moved = stepped(parameter, rate, gradient, root(total) + options["eps"])
    return moved, {**state, "step": step, "sum": total}


def adadelta(
    parameter: Tensor, gradient: Tensor, state: State, options: Options
) -> tuple[Tensor, dict[str, Any]]:
    """Adadelta (Zeiler, 2012).  Reads ``step``, ``square_avg`` and ``acc_delta``."""
    gradient = _decayed(parameter, gradient, options)
    rho, eps = options["rho"], options["eps"]
    square, length = square_of(gradient, state.get("square_avg"), rho), state.get("acc_delta")
    length = torch.zeros_like(gradient) if length is None else length
    direction = root(length + eps) / root(square + eps) * gradient
    length = square_of(direction, length, rho)
    return stepped(parameter, options["lr"], direction), {
        **state,
        "step": count(state),
        "square_avg": square,
        "acc_delta": length,
    }


def _decayed(parameter: Tensor, gradient: Tensor, options: Options) -> Tensor:
    decay = options["weight_decay"]
    return gradient.add(parameter, alpha=decay) if decay != 0 else gradient


register(torch.optim.RMSprop, rmsprop, elementwise=True, flat=True)
register(torch.optim.Adagrad, adagrad, elementwise=True, flat=True)
register(torch.optim.Adadelta, adadelta, elementwise=True, flat=True)
