"""Optimizer updates as pure functions: one definition for the virtual step and for all its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

State = Mapping[str, Any]
Options = Mapping[str, Any]
Update = Callable[[Tensor, Tensor, State, Options], "tuple[Tensor, dict[str, Any]]"]
"""(parameter, gradient, its state, its group's options) -> (new parameter, new state); writes nothing."""

_rules: dict[type[Optimizer], Update] = {}


def register_rule(optimizer: type[Optimizer]) -> Callable[[Update], Update]:
    """Decorator that files a pure update as the definition of ``optimizer``'s step."""

    def file(update: Update) -> Update:
        if optimizer in _rules:
            raise ValueError(f"{optimizer.__name__} already has an inner rule")
        _rules[optimizer] = update
        return update

    return file


def rules() -> Mapping[type[Optimizer], Update]:
    """The optimizers that can be differentiated through, with their updates."""
    return dict(_rules)


def rule_for(optimizer: Optimizer) -> Update:
    """The pure update of ``optimizer``, after a check of its options.

    Raises TypeError for an optimizer without a rule, ValueError for an option that none supports.
    """
    update = _rules.get(type(optimizer))
    if update is None:
        kinds = ", ".join(kind.__name__ for kind in _rules)
        raise TypeError(
            f"{type(optimizer).__name__} cannot be differentiated through; use one of torch.optim's {kinds}, "
            "or file its update with metaweight.inner.register_rule"
        )
    for number, group in enumerate(optimizer.param_groups):
        if group.get("maximize"):
            raise ValueError(f"maximize=True in parameter group {number} is not supported: negate the loss")
    return update


def clip_gradients(gradients: Sequence[Tensor], max_norm: float) -> list[Tensor]:
    """Scale gradients to a joint 2-norm of at most ``max_norm``, as torch's ``clip_grad_norm_`` does."""
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    return [g * scale for g in gradients]


@dataclass(frozen=True)
class InnerStep:
    """One optimizer step on a student's parameters as a pure function, taken from a live optimizer."""

    update: Update
    options: Mapping[str, Options]
    """Parameter name -> options of its group."""
    states: Mapping[str, State]
    """Parameter name -> the optimizer's state of it, empty before its first step."""
    max_norm: float | None = None
    groups: Mapping[str, int] = field(default_factory=dict)
    """Parameter name -> number of its group."""

    @staticmethod
    def of(
        optimizer: Optimizer, parameters: Mapping[str, Tensor], max_norm: float | None = None
    ) -> InnerStep:
        """Read ``optimizer`` as it stands.

        ``parameters``: the student's trainable ones by name; those that the optimizer does not hold stay
        put.  Raises ValueError where the optimizer holds a parameter that is not among them.
        """
        update = rule_for(optimizer)
        names = {id(p): name for name, p in parameters.items()}
        options: dict[str, Options] = {}
        states: dict[str, State] = {}
        groups: dict[str, int] = {}
        for number, group in enumerate(optimizer.param_groups):
            settings = {key: value for key, value in group.items() if key != "params"}
            for p in group["params"]:
                if not p.requires_grad:
                    continue
                if id(p) not in names:
                    raise ValueError(
                        f"the optimizer's parameter group {number} holds a tensor of shape {tuple(p.shape)} "
                        "that is no parameter of the student; build it from the student's module"
                    )
                options[names[id(p)]] = settings
                groups[names[id(p)]] = number
                states[names[id(p)]] = dict(optimizer.state.get(p, {}))
        if not options:
            raise ValueError("the optimizer holds no trainable parameter of the student")
        return InnerStep(update, options, states, max_norm, groups)

    def at(self, rates: Sequence[float] | None) -> InnerStep:
        """The same step with the learning rate of each parameter group; None: as they are."""
        if rates is None:
            return self
        options = {name: {**own, "lr": rates[self.groups[name]]} for name, own in self.options.items()}
        return replace(self, options=options)

    def __call__(
        self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], InnerStep]:
        """New parameters and the step that comes after; a parameter without gradient stays as it is."""
        names = [name for name in self.options if name in gradients]
        values = [gradients[name] for name in names]
        if self.max_norm is not None and values:
            values = clip_gradients(values, self.max_norm)
        successors, states = dict(parameters), dict(self.states)
        for name, value in zip(names, values, strict=True):
            successors[name], states[name] = self.update(
                parameters[name], value, self.states[name], self.options[name]
            )
        return successors, replace(self, states=states)

    def write_states(self, optimizer: Optimizer, parameters: Mapping[str, Tensor]) -> None:
        """Make these states those of the live ``optimizer`` of ``parameters``, in torch's own form."""
        for name, state in self.states.items():
            own = optimizer.state[parameters[name]] if state else {}
            for key, value in state.items():
                held = own.get(key)
                if isinstance(held, Tensor):
                    held.copy_(torch.as_tensor(value))
                elif isinstance(value, float):  # torch counts steps in a tensor
                    fused = self.options[name].get("capturable") or self.options[name].get("fused")
                    own[key] = torch.tensor(value, device=parameters[name].device if fused else None)
                else:
                    own[key] = value.detach().clone() if isinstance(value, Tensor) else value
