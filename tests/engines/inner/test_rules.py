"""Which optimizers have an update: their class, subclasses, those that others register."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from metaweight.engines.inner import InnerStep, register, rule_for
from metaweight.engines.inner.rules import Options, State
from metaweight.engines.inner.sgd import sgd
from metaweight.testing import check_optimizer


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.ones(2, dtype=torch.float64))


class Lion(Optimizer):
    """The sign of a momentum, made smooth."""

    def __init__(self, params: Any, lr: float = 0.1, beta: float = 0.8, decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "beta": beta, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.move(p, group)

    def move(self, p: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["momentum"], state["step"] = torch.zeros_like(p), torch.zeros(())
        state["step"] += 1
        state["momentum"].lerp_(p.grad, 1 - group["beta"])
        p.mul_(1 - group["lr"] * group["decay"]).sub_(group["lr"] * state["momentum"].tanh())


def lion(
    parameter: Tensor, gradient: Tensor, state: State, options: Options
) -> tuple[Tensor, dict[str, Any]]:
    before = state.get("momentum", torch.zeros_like(gradient))
    momentum = torch.lerp(before, gradient, 1 - options["beta"])
    moved = parameter * (1 - options["lr"] * options["decay"]) - options["lr"] * momentum.tanh()
    return moved, {"momentum": momentum, "step": float(state.get("step", 0.0)) + 1}


register(Lion, lion, options={"decoupled_weight_decay": True})


def test_an_update_that_a_user_registers_counts_like_a_built_in() -> None:
    check_optimizer(Lion, beta=0.7, decay=0.2)
    assert rule_for(Lion([parameter()])).update is lion


def test_a_check_that_was_registered_is_asked() -> None:
    def check(group: Any) -> None:
        if group["decay"]:
            raise ValueError("no decay here")

    class Fussy(Lion):
        pass

    register(Fussy, lion, check=check)
    p = parameter()
    InnerStep.of(Fussy([p]), {"p": p})
    with pytest.raises(ValueError, match="no decay here"):
        InnerStep.of(Fussy([p], decay=0.1), {"p": p})


def test_register_refuses_what_is_no_optimizer_and_what_is_known() -> None:
    with pytest.raises(ValueError, match="SGD already has an update"):
        register(torch.optim.SGD, sgd)
    for wrong in (nn.Linear, torch.optim.SGD([parameter()], lr=0.1)):
        with pytest.raises(TypeError, match=r"subclass of torch.optim.Optimizer"):
            register(wrong, sgd)  # type: ignore[arg-type]


class Named(torch.optim.SGD):
    """Another constructor, the same step."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, lr=0.2, momentum=0.5)

    def zero_grad(self, set_to_none: bool = False) -> None:
        super().zero_grad(set_to_none)


class Counted(Named):
    pass


def test_a_subclass_with_the_step_of_its_base_has_its_update() -> None:
    # torch wraps a step at the class whose instance comes first: here the subclasses' own
    assert rule_for(Counted([parameter()])).update is sgd
    assert rule_for(Named([parameter()])).update is sgd
    check_optimizer(Counted)


class Clipping(torch.optim.Adam):
    @functools.wraps(torch.optim.Adam.step)
    def step(self, closure: Any = None) -> Any:
        torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 0.1)
        return super().step(closure)


class ClippingW(torch.optim.AdamW):
    """AdamW has its step from Adam."""

    def step(self, closure: Any = None) -> Any:
        torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 0.1)
        return super().step(closure)


class Centred(torch.optim.Adam):
    def _init_group(self, *parts: Any) -> Any:
        return super()._init_group(*parts)


class Mixin:
    def step(self, closure: Any = None) -> None:
        pass


class Mixed(Mixin, torch.optim.SGD):
    pass


class Turned(Lion):
    def move(self, p: Tensor, group: dict[str, Any]) -> None:
        pass


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Clipping, r"Clipping overrides step of Adam.*inner.register\(Clipping, update\)"),
        (ClippingW, "ClippingW overrides step of AdamW"),
        (Centred, "Centred overrides _init_group of Adam"),
        (lambda p: Mixed(p, lr=0.1), "Mixed overrides step of SGD"),
        (Turned, "Turned overrides move of Lion"),
        (torch.optim.LBFGS, "evaluates the loss several times in a step"),
        (torch.optim.SparseAdam, "takes sparse gradients alone; use Adam"),
        (torch.optim.Rprop, "sign alone.*use RMSprop or Adam"),
        (lambda p: Foreign(p, {}), r"Foreign cannot be.*AdamW.*metaweight.engines.inner.register\(Foreign"),
    ],
)
def test_what_has_no_update_is_refused_with_the_reason(kind: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        rule_for(kind([parameter()]))


class Foreign(Optimizer):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        pass


def test_a_scheduler_leaves_the_step_and_a_user_who_replaces_it_does_not() -> None:
    optimizer = torch.optim.SGD([parameter()], lr=0.1)
    for _ in range(2):
        torch.optim.lr_scheduler.StepLR(optimizer, 1)
    assert rule_for(optimizer).update is sgd
    own = optimizer.step

    @functools.wraps(own)
    def step(*parts: Any) -> Any:  # it has the scheduler's marks
        return own(*parts)

    optimizer.step = step  # type: ignore[method-assign]
    with pytest.raises(TypeError, match="step of this SGD was replaced"):
        rule_for(optimizer)
