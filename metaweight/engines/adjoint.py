"""Back through one update: what a loss after it says of gradients, parameters and states before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

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
    g = leaves_of({n: gradient[n] for n in names})
    taken, alone = inner.taken(g), replace(inner, max_norm=None)
    pull: dict[str, Tensor] = {}
    # what had no gradient in this step was left as it was, and so is its adjoint
    before = {n: v for n, v in adjoint.parameters.items() if n not in g}
    kept: dict[str, Mapping[str, Tensor]] = {n: v for n, v in adjoint.states.items() if n not in g}
    for n in names:  # one after the other, for the sake of memory: only clipping sees all of them
        own, at, states = _through_one(alone, n, parameters[n], taken[n].detach(), adjoint)
        if own is not None:
            pull[n] = own
        if at is not None:
            before[n] = at
        if states:
            kept[n] = states
    if inner.max_norm is not None and pull:
        reached = list(pull)
        products = torch.autograd.grad(
            [taken[n] for n in reached], [g[n] for n in names], [pull[n] for n in reached], allow_unused=True
        )
        pull = {n: v for n, v in zip(names, products, strict=True) if v is not None}
    return pull, Adjoint(before, kept)


def _through_one(
    inner: InnerStep, name: str, parameter: Tensor, gradient: Tensor, adjoint: Adjoint
) -> tuple[Tensor | None, Tensor | None, dict[str, Tensor]]:
    """What a loss says of the gradient of one parameter, of itself and of its states before the update."""
    p, g = parameter.detach().requires_grad_(), gradient.detach().requires_grad_()
    state = dict(inner.states[name])
    keys = [key for key, value in state.items() if _moves(key, value)]
    for key in keys:
        state[key] = state[key].detach().requires_grad_()
    after, successor = replace(inner, states={name: state})({name: p}, {name: g})
    outputs = [(after[name], adjoint.parameters[name])] if name in adjoint.parameters else []
    outputs += [(successor.states[name][key], v) for key, v in adjoint.states.get(name, {}).items()]
    # a state that was made anew in this step, from no gradient, passes nothing on
    outputs = [(value, v) for value, v in outputs if value.requires_grad]
    if not outputs:
        return None, None, {}
    values, pulls = zip(*outputs, strict=True)
    own, at, *moved = torch.autograd.grad(
        values, [g, p, *(state[key] for key in keys)], pulls, allow_unused=True
    )
    return own, at, {key: v for key, v in zip(keys, moved, strict=True) if v is not None}


def _moves(key: str, value: object) -> bool:
    """Whether an entry of an optimizer's state may be a function of gradients: the count of steps is none.

    Of any shape: Adafactor's are rows and columns, and an optimizer may keep one number of all.
    """
    number = isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    return number and key != "step"


def leaves_of(values: Named) -> dict[str, Tensor]:
    """The same values, each with a gradient of its own."""
    return {name: value.detach().requires_grad_() for name, value in values.items()}
