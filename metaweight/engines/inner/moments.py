"""torch.optim's kin of Adam, Adamax, NAdam and RAdam, as pure updates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metaweight.engines.inner.adam import mean_of, root, square_of, stepped
from metaweight.engines.inner.rules import Options, State, register
from metaweight.engines.inner.states import count, scalar


def adamax(
    parameter: Tensor, gradient: Tensor, state: State, options: Options
) -> tuple[Tensor, dict[str, Any]]:
    """Adamax (Kingma & Ba, 2015): Adam with the maximum norm.  Reads ``step``, ``exp_avg``, ``exp_inf``."""
    parameter, gradient = _decayed(parameter, gradient, options)
    (beta1, beta2), step = options["betas"], count(state)
    mean = mean_of(gradient, state.get("exp_avg"), beta1)
    largest = gradient.abs() + options["eps"]
    if "exp_inf" in state:
        largest = torch.maximum(state["exp_inf"] * beta2, largest)
    moved = stepped(parameter, options["lr"] / (1 - beta1**step), mean, largest)
    return moved, {**state, "step": step, "exp_avg": mean, "exp_inf": largest}


def nadam(
    parameter: Tensor, gradient: Tensor, state: State, options: Options
) -> tuple[Tensor, dict[str, Any]]:
    """NAdam (Dozat, 2016): Adam with Nesterov's momentum.

    Reads ``step``, ``exp_avg``, ``exp_avg_sq`` and ``mu_product``, a number in the precision that torch
    keeps it in, so that the real steps that follow see the same one.
    """
    parameter, gradient = _decayed(parameter, gradient, options)
    lr, (beta1, beta2), step = options["lr"], options["betas"], count(state)
    mean = mean_of(gradient, state.get("exp_avg"), beta1)
    square = square_of(gradient, state.get("exp_avg_sq"), beta2)
    here, ahead = (beta1 * (1 - 0.5 * 0.96 ** (n * options["momentum_decay"])) for n in (step, step + 1))
    if "mu_product" in state:
        product = state["mu_product"].detach() * here
    else:
        product = scalar(1.0, parameter.device if options["capturable"] else None) * here
    passed = float(product)
    deviation = root(square / (1 - beta2**step)) + options["eps"]
    moved = stepped(parameter, lr * (1 - here) / (1 - passed), gradient, deviation)
    moved = stepped(moved, lr * ahead / (1 - passed * ahead), mean, deviation)
    return moved, {**state, "step": step, "mu_product": product, "exp_avg": mean, "exp_avg_sq": square}


def radam(
    parameter: Tensor, gradient: Tensor, state: State, options: Options
) -> tuple[Tensor, dict[str, Any]]:
    """RAdam (Liu et al., 2020): plain momentum until the second moment can be trusted.

    Reads ``step``, ``exp_avg`` and ``exp_avg_sq``.
    """
    parameter, gradient = _decayed(parameter, gradient, options)
    (beta1, beta2), step = options["betas"], count(state)
    mean = mean_of(gradient, state.get("exp_avg"), beta1)
    square = square_of(gradient, state.get("exp_avg_sq"), beta2)
    direction = mean / (1 - beta1**step) * options["lr"]
    rest = 1 - beta2**step
    most = 2 / (1 - beta2) - 1
    length = most - 2 * step * beta2**step / rest
    if length > 5:
        rectified = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
        direction = direction * (rest**0.5 / (root(square) + options["eps"])) * rectified**0.5
    return parameter - direction, {**state, "step": step, "exp_avg": mean, "exp_avg_sq": square}


def _decayed(parameter: Tensor, gradient: Tensor, options: Options) -> tuple[Tensor, Tensor]:
    """Weight decay, in the parameter where it is decoupled, else in the gradient."""
    decay = options["weight_decay"]
    if decay == 0:
        return parameter, gradient
    if options.get("decoupled_weight_decay", False):
        return parameter * (1 - options["lr"] * decay), gradient
    return parameter, gradient.add(parameter, alpha=decay)


register(torch.optim.Adamax, adamax, elementwise=True, flat=True)
register(torch.optim.NAdam, nadam, elementwise=True, flat=True)
register(torch.optim.RAdam, radam, elementwise=True, flat=True)
