"""torch.optim.SGD and its averaged kin ASGD as pure updates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metaweight.engines.inner.rules import Options, State, register
from metaweight.engines.inner.states import scalar


def sgd(parameter: Tensor, gradient: Tensor, state: State, options: Options) -> tuple[Tensor, dict[str, Any]]:
    """SGD with momentum, dampening, Nesterov and weight decay; the first buffer is the gradient itself.

    Differentiable in parameter, gradient and a tensor ``lr``.  Reads ``momentum_buffer``.
    """
    if options["weight_decay"] != 0:
        gradient = gradient.add(parameter, alpha=options["weight_decay"])
    direction, after = gradient, dict(state)
    momentum = options["momentum"]
    if momentum != 0:
        buffer = state.get("momentum_buffer")
        if buffer is None:
            buffer = gradient
        else:
            # in place on what was made just now: a tensor fewer of the parameter's size
            buffer = buffer.mul(momentum).add_(gradient, alpha=1 - options["dampening"])
        after["momentum_buffer"] = buffer
        direction = gradient.add(buffer, alpha=momentum) if options["nesterov"] else buffer
    lr = options["lr"]
    successor = parameter - lr * direction if isinstance(lr, Tensor) else parameter.add(direction, alpha=-lr)
    return successor, after


def asgd(
    parameter: Tensor, gradient: Tensor, state: State, options: Options
) -> tuple[Tensor, dict[str, Any]]:
    """Averaged SGD (Polyak & Juditsky, 1992); the average ``ax`` is kept, and moves no parameter.

    ``eta`` and ``mu``, the rates of the next step, are numbers in the precision that torch keeps them in.
    """
    lambd, lr, device = options["lambd"], options["lr"], parameter.device
    start = float(lr.detach()) if isinstance(lr, Tensor) else lr
    step = state["step"] + 1 if "step" in state else scalar(1.0, device)
    eta = state["eta"].detach() if "eta" in state else scalar(start, device)
    mu = state["mu"].detach() if "mu" in state else scalar(1.0, device)
    rate = float(eta)
    if options["weight_decay"] != 0:
        gradient = gradient.add(parameter, alpha=options["weight_decay"])
    moved = (parameter * (1 - lambd * rate)).add(gradient, alpha=-rate)
    mean = moved if float(mu) == 1 else state["ax"] + (moved - state["ax"]) * mu
    # torch's foreach form counts with the tensor, its plain one with the number: eta rounds otherwise
    number = step if _counts_in_tensors(options, device) else float(step)
    after = torch.as_tensor(lr / (1 + lambd * lr * number) ** options["alpha"]).detach()
    share = scalar(1 / max(1.0, float(step) - options["t0"]), device)
    return moved, {
        **state,
        "step": step,
        "eta": after.to(eta.dtype).to(device),
        "mu": share.to(mu.dtype),
        "ax": mean,
    }


def _counts_in_tensors(options: Options, device: torch.device) -> bool:
    foreach = options.get("foreach")
    return bool(options.get("capturable")) or (device.type != "cpu" if foreach is None else bool(foreach))


register(torch.optim.SGD, sgd, elementwise=True, flat=True)
register(torch.optim.ASGD, asgd, elementwise=True, flat=True)
