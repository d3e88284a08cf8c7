"""The pure updates against torch.optim, and higher's optimizers after registration."""

from __future__ import annotations

import higher
import pytest
import torch
from torch import nn

from metaweight.engines.inner import InnerStep, adam, clip_gradients, rule_for

CASES = {
    "sgd": (torch.optim.SGD, {"lr": 0.1}),
    "decay": (torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.3}),
    "momentum": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}),
    "nesterov": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.6, "nesterov": True, "weight_decay": 0.1}),
    "tensor-lr": (torch.optim.SGD, {"lr": torch.tensor(0.1, dtype=torch.float64), "momentum": 0.9}),
    "adam": (torch.optim.Adam, {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-4}),
    "adam-decay": (torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.2}),
    "adam-decoupled": (torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True}),
    "adam-amsgrad": (torch.optim.Adam, {"lr": 0.1, "betas": (0.5, 0.6), "amsgrad": True}),
    "adamw": (torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.2}),
    "adamw-amsgrad": (torch.optim.AdamW, {"lr": 0.1, "betas": (0.5, 0.6), "amsgrad": True}),
}


def gradient_of(p: torch.Tensor, step: int) -> torch.Tensor:
    # shrinking, so that AMSGrad's maximum and the plain second moment part
    return (p * p - 0.5 + 0.1 * step) * 0.5**step


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("foreach", [False, True])
def test_update_equals_torch_optim_fresh_and_warm(case: str, foreach: bool) -> None:
    kind, options = CASES[case]
    torch.manual_seed(0)
    live = {"a": nn.Parameter(torch.randn(3, 2).double()), "b": nn.Parameter(torch.randn(4).double())}
    optimizer = kind(live.values(), foreach=foreach, **options)
    for step in range(6):
        pure = InnerStep.of(optimizer, live)
        grads = {name: gradient_of(p.detach(), step) for name, p in live.items()}
        moved, after = pure({n: p.detach().clone() for n, p in live.items()}, grads)
        for name, p in live.items():
            p.grad = grads[name].clone()
        optimizer.step()
        for name, p in live.items():
            torch.testing.assert_close(moved[name], p.detach(), rtol=1e-12, atol=1e-14)
        again = InnerStep.of(optimizer, live)
        for name in live:  # the step after, from the pure state and from the live one
            pure_next, _ = after(moved, {name: grads[name]})
            live_next, _ = again({n: p.detach() for n, p in live.items()}, {name: grads[name]})
            torch.testing.assert_close(pure_next[name], live_next[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", [c for c in CASES if c != "tensor-lr"])
def test_higher_takes_the_same_step_as_torch_optim(case: str) -> None:
    kind, options = CASES[case]
    torch.manual_seed(0)
    module = nn.Linear(3, 2).double()
    optimizer = kind(module.parameters(), **options)
    x = torch.randn(4, 3).double()
    for _ in range(3):
        with higher.innerloop_ctx(module, optimizer) as (copy, differentiable):
            differentiable.step(copy(x).square().mean())
            virtual = [p.detach() for p in copy.parameters()]
        optimizer.zero_grad()
        module(x).square().mean().backward()
        optimizer.step()
        for a, b in zip(virtual, module.parameters(), strict=True):
            torch.testing.assert_close(a, b.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_update_has_the_derivative_of_central_differences(case: str) -> None:
    kind, options = CASES[case]
    p = nn.Parameter(torch.tensor([0.7, -1.3]).double())
    optimizer = kind([p], **options)
    for step in range(3):
        p.grad = gradient_of(p.detach(), step)
        optimizer.step()
    pure = InnerStep.of(optimizer, {"p": p})
    grad = torch.tensor([0.4, -0.2]).double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda g: pure({"p": p.detach()}, {"p": g})[0]["p"], grad, eps=1e-7, atol=1e-7, rtol=1e-6
    )


@pytest.mark.parametrize("extra", [{}, {"eps_root": 1e-3}, {"weight_decay": 0.2}])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_warm_adam_has_every_derivative_that_several_steps_need(
    kind: type[torch.optim.Optimizer], extra: dict[str, float]
) -> None:
    p = nn.Parameter(torch.zeros(3).double())
    optimizer = kind([{"params": [p], **extra}], lr=0.1, betas=(0.7, 0.9), eps=1e-2)
    update, options = rule_for(optimizer).update, optimizer.param_groups[0]
    torch.manual_seed(1)
    inputs = [torch.randn(3).double().requires_grad_() for _ in range(3)]
    square = (torch.rand(3).double() + 0.1).requires_grad_()

    def step(theta: torch.Tensor, grad: torch.Tensor, mean: torch.Tensor, square: torch.Tensor) -> object:
        state = {"step": torch.tensor(4.0), "exp_avg": mean, "exp_avg_sq": square}
        moved, after = update(theta, grad, state, options)
        return moved, after["exp_avg"], after["exp_avg_sq"]

    assert torch.autograd.gradcheck(step, (*inputs, square), eps=1e-6, atol=1e-8, rtol=1e-7)


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("turned", [False, True])
def test_adam_of_large_parameters_goes_piece_by_piece_to_the_same_slopes(
    steps: int, turned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = torch.Generator().manual_seed(0)
    p = nn.Parameter(torch.randn(7, 5, generator=g))
    optimizer = torch.optim.Adam([p], lr=0.1)
    for _ in range(steps):
        p.grad = torch.randn(7, 5, generator=g)
        optimizer.step()
    gradient, pull = torch.randn(2, 7, 5, generator=g)
    if turned:
        gradient = gradient.T.contiguous().T

    def slope() -> torch.Tensor:
        leaf = gradient.detach().requires_grad_()
        moved = InnerStep.of(optimizer, {"p": p}).successors({"p": p.detach()}, {"p": leaf})[0]["p"]
        return torch.autograd.grad(moved, leaf, pull)[0]

    whole = slope()
    monkeypatch.setattr(adam, "PIECE", 8)
    assert torch.equal(slope(), whole)


def test_warm_adam_without_any_deviation_has_a_finite_slope() -> None:
    p = nn.Parameter(torch.ones(2).double())
    optimizer = torch.optim.Adam([p], lr=0.1, betas=(0.5, 0.9), eps=1e-3)
    p.grad = torch.zeros(2).double()
    optimizer.step()
    grad = torch.zeros(2).double().requires_grad_()
    moved, _ = InnerStep.of(optimizer, {"p": p})({"p": p.detach()}, {"p": grad})
    (slope,) = torch.autograd.grad(moved["p"].sum(), grad)
    # through the mean alone: -lr (1 - b1) / (1 - b1^2) / eps
    torch.testing.assert_close(slope, torch.full_like(slope, -0.1 * 0.5 / 0.75 / 1e-3))


def test_adam_at_a_zero_gradient_has_a_finite_true_slope() -> None:
    p = nn.Parameter(torch.ones(2).double())
    optimizer = torch.optim.Adam([p], lr=0.1, eps=1e-3)
    grad = torch.zeros(2).double().requires_grad_()
    moved, _ = InnerStep.of(optimizer, {"p": p})({"p": p.detach()}, {"p": grad})
    (slope,) = torch.autograd.grad(moved["p"].sum(), grad)
    # theta' = theta - lr g / (|g| + eps): slope -lr / eps at g = 0
    torch.testing.assert_close(slope, torch.full_like(slope, -0.1 / 1e-3))


def test_eps_root_bounds_the_slope_and_leaves_the_real_optimizer_alone() -> None:
    p = nn.Parameter(torch.ones(1).double())
    optimizer = torch.optim.Adam([{"params": [p], "eps_root": 1e-4}], lr=0.1, eps=1e-8)
    grad = torch.zeros(1).double().requires_grad_()
    moved, _ = InnerStep.of(optimizer, {"p": p})({"p": p.detach()}, {"p": grad})
    (slope,) = torch.autograd.grad(moved["p"].sum(), grad)
    # m = (1-b1) g / (1-b1) = g; root = sqrt(eps_root / (1 - b2)) with b2 = 0.999
    assert float(slope) == pytest.approx(-0.1 / ((1e-4 / 1e-3) ** 0.5 + 1e-8), rel=1e-9)


def test_a_new_state_lies_in_memory_as_its_parameter() -> None:
    p = nn.Parameter(torch.zeros(3, 4).t())
    optimizer = torch.optim.Adam([p], lr=0.1)
    _, after = InnerStep.of(optimizer, {"p": p})({"p": p.detach()}, {"p": torch.ones(4, 3)})
    after.write_states(optimizer, {"p": p})
    assert optimizer.state[p]["exp_avg"].stride() == p.stride() == (1, 4)


def test_clipping_equals_torch() -> None:
    torch.manual_seed(0)
    for max_norm in (0.1, 100.0):
        params = [nn.Parameter(torch.zeros(3).double()), nn.Parameter(torch.zeros(2, 2).double())]
        for p in params:
            p.grad = torch.randn_like(p)
        pure = clip_gradients([p.grad.clone() for p in params], max_norm)
        torch.nn.utils.clip_grad_norm_(params, max_norm)
        for a, p in zip(pure, params, strict=True):
            torch.testing.assert_close(a, p.grad, rtol=1e-12, atol=0)
