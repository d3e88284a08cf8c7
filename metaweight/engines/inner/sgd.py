"""torch.optim.SGD as a pure update."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metaweight.engines.inner.base import Options, State, register_rule


@register_rule(torch.optim.SGD)
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
            buffer = buffer.mul(momentum).add(gradient, alpha=1 - options["dampening"])
        after["momentum_buffer"] = buffer
        direction = gradient.add(buffer, alpha=momentum) if options["nesterov"] else buffer
    lr = options["lr"]
    successor = parameter - lr * direction if isinstance(lr, Tensor) else parameter.add(direction, alpha=-lr)
    return successor, after
