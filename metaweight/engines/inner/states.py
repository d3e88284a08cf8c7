"""Optimizer states in torch's own form, so that a live optimizer goes on from a pure step."""

from __future__ import annotations

import torch
from torch import Tensor

from metaweight.engines.inner.rules import Options, State


def count(state: State) -> float:
    """The number of the step that is being taken, 1 for the first."""
    return float(state["step"]) + 1 if "step" in state else 1.0


def scalar(value: float, device: torch.device | None = None, *, fused: bool = False) -> Tensor:
    """A number of a state as torch keeps it: double where that is the default, and never in fused steps."""
    double = torch.get_default_dtype() == torch.float64 and not fused
    return torch.tensor(value, dtype=torch.float64 if double else torch.float32, device=device)


def write_state(own: dict[str, object], state: State, parameter: Tensor, options: Options) -> None:
    """Make ``state`` that of a live optimizer, which keeps it in ``own``.

    What is there is written in place, as an optimizer's captured graph may hold it.
    """
    for key, value in state.items():
        held = own.get(key)
        if isinstance(held, Tensor):
            held.copy_(torch.as_tensor(value))
        elif isinstance(value, float):  # torch counts steps in a tensor
            fused = bool(options.get("fused"))
            on_device = fused or options.get("capturable")
            own[key] = scalar(value, parameter.device if on_device else None, fused=fused)
        elif isinstance(value, Tensor):
            own[key] = _like(value.detach(), parameter)
        else:
            own[key] = value


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """A copy, in memory as the parameter lies where it has its shape: fused kernels ask for that."""
    if value.shape != parameter.shape:
        return value.clone()
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
