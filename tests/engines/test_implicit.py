"""``implicit`` against weighted ridge regression, whose optimum and its derivative have a closed form."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from students import batch
from torch import Tensor, nn

import metaweight as mw
from metaweight.engines import EngineError
from metaweight.engines.implicit import Implicit, ImplicitWarning
from metaweight.testing.oracles import relative
from metaweight.testing.ridge import DECAY, optimum, ridge, slopes_of_the_optimum, squared


def slopes(
    module: nn.Module,
    own: torch.optim.Optimizer,
    w: Tensor,
    engine: object,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = squared,
    **kw: object,
) -> Tensor:
    """dL_meta/dw of the ridge problem's batches, at the module as it stands."""
    x, y, a, b, _ = ridge()
    train, meta = mw.Batch((x,), y, torch.arange(9)), mw.Batch((a,), b, torch.arange(7))
    leaf = w.clone().requires_grad_()
    return mw.hypergradient(
        mw.Student(module, loss), own, train, meta, lambda _s: leaf, [leaf], engine, **kw
    ).grads[0]


def solve(engine: object, optimizer: type[torch.optim.Optimizer] = torch.optim.SGD, **kw: object) -> Tensor:
    x, y, _, _, w = ridge()
    module = nn.Linear(4, 1, bias=False).double()
    with torch.no_grad():
        module.weight.copy_(optimum(x, y, w)[None])
    own = optimizer(module.parameters(), lr=0.7, weight_decay=DECAY)
    return slopes(module, own, w, engine, **kw)


@pytest.mark.parametrize(
    "engine",
    [
        "implicit",
        Implicit("cg", 4, accuracy=1e-14),
        Implicit("neumann", 2000, accuracy=1e-13),
        Implicit("neumann", 4000, accuracy=1e-13, rate=0.2),
    ],
)
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_weighted_ridge(engine: object, optimizer: type[torch.optim.Optimizer]) -> None:
    assert relative(solve(engine, optimizer), slopes_of_the_optimum(*ridge())) <= 1e-9


def test_damping_is_added_to_the_hessian() -> None:
    x, y, a, b, w = ridge()
    theta = optimum(x, y, w)
    left = x.T @ (w[:, None] * x) / len(x) + (DECAY + 0.5) * torch.eye(4, dtype=x.dtype)
    right = a.T @ (a @ theta - b) / len(a)
    expected = -(x * (x @ theta - y)[:, None]) @ torch.linalg.solve(left, right) / len(x)
    assert relative(solve(Implicit(damping=0.5)), expected) <= 1e-9


@pytest.mark.slow
def test_a_nonlinear_student_at_its_optimum() -> None:
    """Against central differences over inner problems that are solved to the end."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(24, 3)).double()
    train, meta = batch((3, 8), 6, 1), batch((3, 8), 5, 2)
    w = torch.rand(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.5

    def fit(weights: Tensor) -> None:
        own = torch.optim.SGD(module.parameters(), lr=0.2, weight_decay=DECAY)
        for _ in range(600):
            own.zero_grad()
            loss = F.cross_entropy(module(*train.inputs), train.targets, reduction="none")
            (weights * loss).mean().backward()
            own.step()

    def after(weights: Tensor) -> float:
        fit(weights)
        with torch.no_grad():
            return float(F.cross_entropy(module(*meta.inputs), meta.targets))

    h, truth = 1e-4, torch.zeros(6).double()
    for i in range(6):
        step = torch.eye(6, dtype=torch.float64)[i] * h
        truth[i] = (after(w + step) - after(w - step)) / (2 * h)
    fit(w)
    leaf = w.clone().requires_grad_()
    own = torch.optim.SGD(module.parameters(), lr=0.1, weight_decay=DECAY)
    engine = Implicit(iterations=60, accuracy=1e-12)
    found = mw.hypergradient(mw.Student(module), own, train, meta, lambda _s: leaf, [leaf], engine).grads[0]
    assert relative(found, truth) <= 1e-6


def test_scope_makes_the_inner_problem_smaller() -> None:
    x, y, a, b, w = ridge()

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own, self.other = nn.Linear(4, 1, bias=False), nn.Linear(4, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.own(x) + self.other(x)

    module = Two().double()
    with torch.no_grad():
        module.other.weight.fill_(0.2)
        rest = y - x @ module.other.weight[0]
        module.own.weight.copy_(optimum(x, rest, w)[None])
    own = torch.optim.SGD(module.parameters(), lr=0.7, weight_decay=DECAY)
    found = slopes(module, own, w, "implicit", scope=["own"])
    assert (
        relative(found, slopes_of_the_optimum(x, rest, a, b - a @ module.other.weight.detach()[0], w)) <= 1e-9
    )


def test_what_cannot_be_answered_is_said() -> None:
    with pytest.raises(EngineError, match="decoupled weight decay"):
        solve("implicit", torch.optim.AdamW)
    with pytest.raises(EngineError, match="Neumann series grows"):
        solve(Implicit("neumann", 200, rate=100.0))
    with pytest.raises(ValueError, match="Did you mean 'neumann'"):
        Implicit("neuman")  # type: ignore[arg-type]
    for options in ({"iterations": 0}, {"damping": -1.0}, {"accuracy": 0.0}, {"rate": 0.0}):
        with pytest.raises(ValueError, match="iterations is 1 or more"):
            Implicit(**options)
    with pytest.warns(ImplicitWarning, match="1 iterations leave a residual"):
        solve(Implicit(iterations=1))
    one, module = batch((8,), 6, 1), nn.Linear(8, 3).double()
    own = torch.optim.SGD(module.parameters(), lr=0.1)
    w = torch.ones(6).double().requires_grad_()
    with pytest.raises(ValueError, match="unrolls 1 inner step"):
        mw.hypergradient(mw.Student(module), own, [one, one], one, lambda _s: w, [w], "implicit")


def test_a_direction_of_negative_curvature_is_said_once() -> None:
    module = nn.Linear(4, 1, bias=False).double()
    engine = Implicit()

    def hill(outputs: Tensor, targets: Tensor) -> Tensor:
        return 10 - squared(outputs, targets)

    def again() -> None:
        own = torch.optim.SGD(module.parameters(), lr=0.1)
        slopes(module, own, torch.ones(9).double(), engine, loss=hill)

    with pytest.warns(ImplicitWarning, match="curves down.*raise damping"):
        again()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again()
