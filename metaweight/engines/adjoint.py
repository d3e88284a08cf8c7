"""Back through one update: what a loss after it says of gradients, parameters and states before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from metaweight.engines.inner import InnerStep
from metaweight.student.student import Named


@dataclass(frozen=True)
class Adjoint:
    """dL_meta with respect to parameters and optimizer states at one point; what is missing is 0."""

    parameters: Mapping[str, Tensor]
    states: Mapping[str, Mapping[str, Tensor]]


def through_update(
    inner: InnerStep, parameters: Named, gradient: Named, adjoint: Adjoint
) -> tuple[dict[str, Tensor], Adjoint]:
    """The vector-Jacobian product of one update: (dL/d gradient, adjoint before it, at a fixed gradient).

    What has no entry in ``adjoint`` counts as constant: a parameter out of scope stays so.
    """
    names = [n for n in inner.options if n in gradient]
    g = leaves_of(gradient)
    p = {n: parameters[n].detach().requires_grad_() if n in gradient else parameters[n] for n in parameters}
    states: dict[str, dict[str, Any]] = {n: dict(state) for n, state in inner.states.items()}
    places = [(n, key) for n in names for key, value in states[n].items() if _moves(key, value)]
    for n, key in places:
        states[n][key] = states[n][key].detach().requires_grad_()
    after, successor = replace(inner, states=states)(p, g)
    outputs = [(after[n], v) for n, v in adjoint.parameters.items() if n in g]
    outputs += [
        (successor.states[n][key], v)
        for n, each in adjoint.states.items()
        if n in g
        for key, v in each.items()
    ]
    # a state that was made anew in this step, from no gradient, passes nothing on
    outputs = [(value, v) for value, v in outputs if value.requires_grad]
    if not outputs:
        return {}, adjoint
    inputs = [*(g[n] for n in names), *(p[n] for n in names), *(states[n][key] for n, key in places)]
    values, pulls = zip(*outputs, strict=True)
    products = torch.autograd.grad(values, inputs, pulls, allow_unused=True)
    count = len(names)
    pull = {n: v for n, v in zip(names, products[:count], strict=True) if v is not None}
    # what had no gradient in this step was left as it was, and so is its adjoint
    before = {n: v for n, v in adjoint.parameters.items() if n not in g}
    before |= {n: v for n, v in zip(names, products[count : 2 * count], strict=True) if v is not None}
    kept: dict[str, dict[str, Tensor]] = {n: dict(v) for n, v in adjoint.states.items() if n not in g}
    for (n, key), v in zip(places, products[2 * count :], strict=True):
        if v is not None:
            kept.setdefault(n, {})[key] = v
    return pull, Adjoint(before, kept)


def _moves(key: str, value: object) -> bool:
    """Whether an entry of an optimizer's state may be a function of gradients: the count of steps is none.

    Of any shape: Adafactor's are rows and columns, and an optimizer may keep one number of all.
    """
    number = isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    return number and key != "step"


def leaves_of(values: Named) -> dict[str, Tensor]:
    """The same values, each with a gradient of its own."""
    return {name: value.detach().requires_grad_() for name, value in values.items()}
