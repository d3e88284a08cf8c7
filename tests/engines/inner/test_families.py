"""Every optimizer's update against the class's own step, in all its forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from optimizer_cases import CASES, REAL_ONLY, SHARP
from slowly import one_in, slowly
from torch import Tensor, nn

from metaweight.engines.inner import InnerStep, register, rule_for, rules
from metaweight.testing import check_optimizer
from metaweight.testing.oracles import differences, relative

COMPLEX = [case for case in CASES if case not in REAL_ONLY]
SHAPES = ((), (2, 1, 2), (3,))
needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")


@pytest.mark.parametrize("case", CASES)
def test_an_update_is_the_step_of_its_class(case: str) -> None:
    kind, options = CASES[case]
    check_optimizer(kind, **options)


# each case in one of the three forms below, and in the others slowly
@pytest.mark.parametrize("case", one_in(3, CASES))
def test_maximize_and_foreach(case: str) -> None:
    kind, options = CASES[case]
    check_optimizer(kind, shapes=SHAPES, foreach=True, maximize=True, **options)


@pytest.mark.parametrize("more", [{}, *slowly({"foreach": True, "maximize": True})], ids=str)
@pytest.mark.parametrize("case", one_in(3, COMPLEX, 1))
def test_complex_parameters_are_two_reals(case: str, more: dict[str, bool]) -> None:
    kind, options = CASES[case]
    check_optimizer(kind, shapes=SHAPES, dtype=torch.complex128, **more, **options)


@pytest.mark.parametrize("case", one_in(3, CASES, 2))
@pytest.mark.parametrize("lr", [torch.tensor([0.2], dtype=torch.float64), *slowly(torch.tensor(0.2))])
def test_a_learning_rate_that_is_a_tensor(case: str, lr: Tensor) -> None:
    kind, options = CASES[case]
    # torch's Adafactor multiplies its numbers into lr, and differences see the roundings of single precision
    rounds = case in REAL_ONLY and lr.dtype == torch.float32
    check_optimizer(kind, shapes=SHAPES, differences=not rounds, **{**options, "lr": lr.clone()})


@pytest.mark.parametrize("case", ["momentum", "adam", "amsgrad", "adamw", "adagrad"])
def test_fused(case: str) -> None:
    kind, options = CASES[case]
    check_optimizer(kind, fused=True, **options)


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", ["asgd", "nadam", "rmsprop", "adam"])
def test_numbers_of_a_state_are_double_where_that_is_the_default(case: str) -> None:
    kind, options = CASES[case]
    check_optimizer(kind, **options)
    if case == "adam":  # but in a fused step
        check_optimizer(kind, fused=True, **options)


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)])
def test_adam_with_betas_that_are_tensors(lr: float | Tensor) -> None:
    check_optimizer(torch.optim.Adam, lr=lr, betas=(torch.tensor(0.7), torch.tensor(0.9)), eps=1e-2)


@pytest.mark.parametrize("case", [case for case in CASES if case not in SHARP])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_a_first_step_has_the_derivative_of_differences(case: str, dtype: torch.dtype) -> None:
    if dtype.is_complex and case in REAL_ONLY:
        pytest.skip("real parameters alone")
    kind, options = CASES[case]
    g = torch.Generator().manual_seed(1)
    start, gradient, direction = (torch.randn(3, 2, generator=g, dtype=dtype) for _ in range(3))

    def measured(flat: Tensor) -> float:
        p = nn.Parameter(start.clone())
        optimizer = kind([p], **options)
        p.grad = torch.view_as_complex(flat.view(3, 2, 2)) if dtype.is_complex else flat.view(3, 2)
        optimizer.step()
        return float(_flat(direction) @ _flat(p.detach()))

    p, leaf = nn.Parameter(start.clone()), gradient.clone().requires_grad_()
    moved, _ = InnerStep.of(kind([p], **options), {"p": p})({"p": start}, {"p": leaf})
    (slope,) = torch.autograd.grad(_flat(direction) @ _flat(moved["p"]), leaf)
    assert relative(_flat(slope), differences(measured, _flat(gradient))) < 1e-6


def _flat(value: Tensor) -> Tensor:
    return (torch.view_as_real(value) if value.is_complex() else value).flatten()


def test_a_first_step_of_adafactor_on_a_matrix_has_the_derivative_of_differences() -> None:
    if not hasattr(torch.optim, "Adafactor"):
        pytest.skip("this torch has no Adafactor")
    g = torch.Generator().manual_seed(1)
    start, gradient = (torch.randn(3, 2, generator=g, dtype=torch.float64) for _ in range(2))

    def measured(flat: Tensor) -> float:
        p = nn.Parameter(start.clone())
        p.grad = flat.view(3, 2)
        torch.optim.Adafactor([p], lr=0.3, d=1.2).step()
        return float(p.detach().pow(3).sum())

    p, leaf = nn.Parameter(start.clone()), gradient.clone().requires_grad_()
    inner = InnerStep.of(torch.optim.Adafactor([p], lr=0.3, d=1.2), {"p": p})
    (slope,) = torch.autograd.grad(inner({"p": start}, {"p": leaf})[0]["p"].pow(3).sum(), leaf)
    assert relative(slope.flatten(), differences(measured, gradient.flatten())) < 1e-6


MUON = [
    {"lr": 0.1, "weight_decay": 0.2, "momentum": 0.8},
    {"lr": 0.1, "nesterov": False, "ns_steps": 3, "adjust_lr_fn": "match_rms_adamw"},
]


@needs_muon
@pytest.mark.parametrize("options", MUON)
def test_muon_steps_as_torch_does_in_bfloat16(options: dict[str, Any]) -> None:
    check_optimizer(torch.optim.Muon, shapes=((5, 3), (3, 5), (4, 4)), **options)


@needs_muon
@pytest.mark.parametrize("options", MUON)
def test_muon_has_the_derivative_of_torchs_step_without_its_rounding(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tensor, "bfloat16", Tensor.clone)
    kind = type("Exact", (torch.optim.Muon,), {})
    register(kind, rule_for(torch.optim.Muon([torch.zeros(1, 1, requires_grad=True)])).update)
    check_optimizer(kind, shapes=((5, 3), (3, 5)), **options)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_an_update_is_the_step_of_its_class_to_the_last_bit(case: str, dtype: torch.dtype) -> None:
    kind, options = CASES[case]
    g = torch.Generator().manual_seed(2)
    start, *gradients = (torch.randn(7, 9, generator=g).to(dtype) for _ in range(9))
    p, here = nn.Parameter(start.clone()), start
    optimizer = kind([p], foreach=False, **options)
    inner = InnerStep.of(kind([p], foreach=False, **options), {"p": p})
    for gradient in gradients:
        moved, inner = inner({"p": here}, {"p": gradient})
        here, p.grad = moved["p"], gradient.clone()
        optimizer.step()
        if case in REAL_ONLY:  # torch takes norms of Adafactor's out as numbers of double precision
            eps = torch.finfo(dtype).eps
            torch.testing.assert_close(here, p.detach(), rtol=8 * eps, atol=2 * eps)
        else:
            assert torch.equal(here, p.detach())
    for key, value in optimizer.state[p].items():
        ours = inner.states["p"][key]
        assert not isinstance(ours, Tensor) or ours.dtype == value.dtype, key


def test_every_optimizer_of_torch_that_has_an_update_is_tested_here() -> None:
    ours = {kind for kind in rules() if kind.__module__.startswith("torch.optim")}
    assert ours - {getattr(torch.optim, "Muon", None)} == {kind for kind, _ in CASES.values()}
