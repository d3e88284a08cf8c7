"""Windows whose nudged runs part: over a kink the check looks nearer, of few digits it says so."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import metaweight as mw
from metaweight.engines import EngineError, build_engine
from metaweight.engines.verification import NUDGES, UnsteadyWarning

WEIGHTS = torch.tensor([1.2, 0.8], dtype=torch.float64)
RATE = 0.1
ENGINE = build_engine("reverse", replay="snapshots")


class Bent(nn.Module):
    """One parameter, whose gradient jumps where it passes ``corner``."""

    def __init__(self, corner: float, wrong: bool = False) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        self.corner, self.wrong = corner, wrong

    def forward(self, x: Tensor) -> Tensor:
        bent = self.slope + 50 * torch.relu(self.slope - self.corner)
        return x * (_Wrong.apply(bent) if self.wrong else bent)


class _Wrong(torch.autograd.Function):
    """Its derivative's derivative is another than its own."""

    @staticmethod
    def forward(context: object, value: Tensor) -> Tensor:
        return value.sin()

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        return gradient.detach() * 2


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs[:, 0] - targets) ** 2


class Logistic(nn.Module):
    """A step of ``RATE`` takes its parameter from x to 3.9 x (1 - x): the best known chaos."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        place = self.place + 0 * x[:, 0]
        return (1.3 * place**3 - 1.45 * place**2) / RATE


def slopes(
    module: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor] = squares,
    steps: int = 2,
    dtype: torch.dtype = torch.float64,
) -> list[Tensor]:
    student = mw.Student(module.to(dtype), loss)
    one = mw.Batch(
        (torch.tensor([[1.0], [0.5]], dtype=dtype),), torch.tensor([2.0, 1.5], dtype=dtype), torch.arange(2)
    )
    leaf = WEIGHTS.to(dtype, copy=True).requires_grad_()
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    train = [one] * steps
    found = mw.hypergradient(student, optimizer, train, one, lambda state: leaf, [leaf], engine=ENGINE)
    return list(found.grads)


def by_hand(corner: float) -> tuple[Tensor, float]:
    """The slopes through two steps written out, and where the first of them ends."""
    x, y = torch.tensor([1.0, 0.5]).double(), torch.tensor([2.0, 1.5]).double()
    weights = [WEIGHTS.clone().requires_grad_() for _ in range(2)]
    slope, ends = torch.tensor(1.0, dtype=torch.float64, requires_grad=True), []

    def losses(at: Tensor) -> Tensor:
        return (x * (at + 50 * torch.relu(at - corner)) - y) ** 2

    for w in weights:
        (gradient,) = torch.autograd.grad((w * losses(slope)).mean(), slope, create_graph=True)
        slope = slope - RATE * gradient
        ends.append(float(slope.detach()))
    first, second = torch.autograd.grad(losses(slope).mean(), weights)
    return first + second, ends[0]


@pytest.mark.parametrize(("wide", "near"), list(pairwise(NUDGES[True])))
def test_a_corner_between_two_nudges_is_no_contradiction(wide: float, near: float) -> None:
    _, end = by_hand(9.0)
    corner = end + 0.01 * wide  # only the wider pair of runs comes behind it
    assert near * RATE < corner - end < wide * RATE
    torch.testing.assert_close(slopes(Bent(corner))[0], by_hand(corner)[0], rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_what_is_wrong_at_every_nudge_is_still_refused(dtype: torch.dtype) -> None:
    with pytest.raises(EngineError, match="Reverse gives"):
        slopes(Bent(9.0, wrong=True), dtype=dtype)


@pytest.mark.parametrize("steps", [17, 22])
def test_a_window_that_magnifies_rounding_is_answered_and_says_how_little_is_known(steps: int) -> None:
    """The end of the longer one is another already in float32."""

    def itself(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs + 0 * targets

    exact = slopes(Logistic(), itself, steps)[0].sum()
    with pytest.warns(UnsteadyWarning, match=f"through {steps} inner steps, few digits are left"):
        rounded = slopes(Logistic(), itself, steps, torch.float32)[0].sum()
    assert abs(rounded - exact) / abs(exact) > 1e-3
