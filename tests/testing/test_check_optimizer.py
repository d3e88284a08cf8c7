"""check_optimizer catches updates that are not quite the class's step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from metaweight.engines.inner import Update, register, rule_for
from metaweight.engines.inner.rules import Options, State
from metaweight.testing import ContractError, check_optimizer

Moved = tuple[Tensor, dict[str, Any]]
ADAM = rule_for(torch.optim.Adam([torch.zeros(1, requires_grad=True)])).update
OPTIONS = {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-2, "weight_decay": 0.2}


def filed(update: Update) -> type[torch.optim.Optimizer]:
    """A class of its own with Adam's step and this update."""
    kind = type("Own", (torch.optim.Adam,), {})
    register(kind, update)
    return kind


def broken(change: Callable[[Tensor, Tensor, dict[str, Any], dict[str, Any]], Moved]) -> Update:
    def update(parameter: Tensor, gradient: Tensor, state: State, options: Options) -> Moved:
        return change(parameter, gradient, dict(state), dict(options))

    return update


def no_decay(p: Tensor, g: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Moved:
    return ADAM(p, g, state, {**options, "weight_decay": 0})


def late(p: Tensor, g: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Moved:
    """Right at first; the second moment is forgotten after three steps."""
    if float(state.get("step", 0)) >= 3:
        state["exp_avg_sq"] = state["exp_avg_sq"] * 0.99
    return ADAM(p, g, state, options)


def detached(p: Tensor, g: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Moved:
    moved, after = ADAM(p, g, state, options)
    return moved, {**after, "exp_avg": after["exp_avg"].detach()}


def cut(p: Tensor, g: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Moved:
    """The decay's way into the gradient has no derivative."""
    return ADAM(p, g + options["weight_decay"] * p.detach(), state, {**options, "weight_decay": 0})


def in_place(p: Tensor, g: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Moved:
    moved, after = ADAM(p, g, state, options)
    if "exp_avg" in state:
        state["exp_avg"].detach().add_(0.1)
    return moved, after


def renamed(p: Tensor, g: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Moved:
    """Its own name for the mean, which the class would not look for."""
    given = {"exp_avg" if key == "mean" else key: value for key, value in state.items()}
    moved, after = ADAM(p, g, given, options)
    return moved, {"mean" if key == "exp_avg" else key: value for key, value in after.items()}


def rootless(p: Tensor, g: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Moved:
    """As one writes it first: the root has an infinite slope at 0."""
    (beta1, beta2), step = options["betas"], float(state.get("step", 0)) + 1
    g = g + options["weight_decay"] * p
    mean = torch.lerp(state.get("exp_avg", torch.zeros_like(p)), g, 1 - beta1)
    square = beta2 * state.get("exp_avg_sq", torch.zeros_like(p)) + (1 - beta2) * g * g
    deviation = (square / (1 - beta2**step)).sqrt() + options["eps"]
    moved = p - options["lr"] / (1 - beta1**step) * mean / deviation
    return moved, {"step": step, "exp_avg": mean, "exp_avg_sq": square}


@pytest.mark.parametrize(
    ("change", "options", "rule", "said"),
    [
        (no_decay, OPTIONS, "its_steps_are_those_of_the_class", "after 0 steps of its own, step 1"),
        (late, OPTIONS, "its_steps_are_those_of_the_class", "after 0 steps of its own, step 4"),
        (in_place, OPTIONS, "it_writes_nothing", "it changes exp_avg of p0, exp_avg of p1"),
        (renamed, OPTIONS, "the_optimizer_can_go_on_from_it", "KeyError|off by"),
        (detached, OPTIONS, "its_derivative_is_that_of_steps", "off by"),
        (cut, OPTIONS, "its_derivative_is_that_of_steps", "off by"),
        (rootless, {**OPTIONS, "weight_decay": 0.0}, "it_is_finite_at_no_gradient", "mask it"),
    ],
)
def test_a_broken_update_is_caught(
    change: Callable[..., Moved], options: dict[str, Any], rule: str, said: str
) -> None:
    with pytest.raises(ContractError, match=said) as caught:
        check_optimizer(filed(broken(change)), **options)
    assert caught.value.rule == rule


def test_a_state_in_another_form_is_caught() -> None:
    def tensors(p: Tensor, g: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Moved:
        moved, after = ADAM(p, g, state, options)
        return moved, {**after, "step": torch.tensor(after["step"], dtype=torch.float64)}

    with pytest.raises(ContractError, match="the class keeps") as caught:
        check_optimizer(filed(broken(tensors)), **OPTIONS)
    assert caught.value.rule == "the_optimizer_can_go_on_from_it"


def test_an_update_that_looks_at_shapes_is_not_flat() -> None:
    def matrices_decay(p: Tensor, g: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Moved:
        return ADAM(p, g, state, options if p.dim() > 1 else {**options, "weight_decay": 0})

    class Own(torch.optim.Adam):
        """Decays matrices alone."""

        def __init__(self, params: Any, **options: Any) -> None:
            super().__init__(params, **options)

        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            (group,) = self.param_groups
            everything, decay = group["params"], group["weight_decay"]
            for p in everything:
                group["params"], group["weight_decay"] = [p], decay if p.dim() > 1 else 0
                super().step()
            group["params"], group["weight_decay"] = everything, decay

    register(Own, broken(matrices_decay), flat=True)
    with pytest.raises(ContractError, match="laid end to end") as caught:
        check_optimizer(Own, **OPTIONS)
    assert caught.value.rule == "what_is_flat_moves_alike_laid_end_to_end"


def test_the_right_update_passes_and_an_unknown_class_is_named() -> None:
    check_optimizer(filed(ADAM), **OPTIONS)
    with pytest.raises(ContractError, match=r"update of LBFGS.*LBFGS cannot be differentiated through"):
        check_optimizer(torch.optim.LBFGS, lr=0.1)
