"""Complex parameters: real and imaginary parts are two numbers, for every engine."""

from __future__ import annotations

import pytest
import torch
from optimizer_cases import built
from students import STEP_ENGINES, agreement, batch, engine_for
from torch import Tensor, nn

import metaweight as mw
from metaweight.engines import build_engine
from metaweight.testing.oracles import RealSteps, plain_step, relative

ENGINES = [name for name in STEP_ENGINES if name != "ghost"]
"""``ghost`` has no rule for a parameter of the student's own, and says so."""


class Spectral(nn.Module):
    """A complex layer between real ones, its numbers as complex ones or as pairs of reals."""

    def __init__(self, pairs: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.first, self.head = nn.Linear(8, 4).double(), nn.Linear(3, 3).double()
            spectrum = torch.randn(4, 3, dtype=torch.complex128) * 0.5
        self.spectrum = nn.Parameter(torch.view_as_real(spectrum).clone() if pairs else spectrum)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = self.spectrum if self.spectrum.is_complex() else torch.view_as_complex(self.spectrum)
        logits: Tensor = self.head((torch.tanh(self.first(x)).to(spectrum.dtype) @ spectrum).abs())
        return logits


def start(case: str, module: nn.Module) -> torch.optim.Optimizer:
    optimizer = built(case)(list(module.parameters()))
    for number in range(3):
        plain_step(module, optimizer, batch((8,), 6, 50 + number), torch.ones(6, dtype=torch.float64))
    return optimizer


def slopes(module: nn.Module, optimizer: torch.optim.Optimizer, engine: object) -> Tensor:
    w = torch.linspace(0.4, 1.6, 6, dtype=torch.float64, requires_grad=True)
    student = mw.Student(module)
    return mw.hypergradient(
        student,
        optimizer,
        batch((8,), 6, 1),
        batch((8,), 5, 9),
        lambda _: w,
        [w],
        engine,  # type: ignore[arg-type]
        max_norm=0.3,
    ).grads[0]


@pytest.mark.parametrize("case", ["momentum", "adam", "rmsprop-centred", "nadam"])
@pytest.mark.parametrize("engine", [*ENGINES, "auto"])
def test_a_complex_student_has_the_hypergradient_of_differences(engine: str, case: str) -> None:
    module = Spectral()
    optimizer = start(case, module)
    w = torch.linspace(0.4, 1.6, 6, dtype=torch.float64)
    steps = RealSteps(mw.Student(module), optimizer, [batch((8,), 6, 1)], batch((8,), 5, 9), 0.3)
    ours = slopes(module, optimizer, engine_for(engine, optimizer))
    assert relative(ours, steps.slopes([w])[0]) < agreement(engine, 1e-6)


def test_implicit_sees_a_complex_student_as_its_twin_of_reals() -> None:
    engine = build_engine("implicit", damping=30.0, iterations=60, accuracy=1e-12)
    there = [slopes(m, start("momentum", m), engine) for m in (Spectral(), Spectral(pairs=True))]
    assert relative(*there) < 1e-9


def test_complex_momentum_is_undone() -> None:
    module = Spectral()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.8, weight_decay=0.1)
    train = [batch((8,), 6, 1 + number) for number in range(3)]
    steps = RealSteps(mw.Student(module), optimizer, train, batch((8,), 5, 9))
    leaves = [torch.ones(6, dtype=torch.float64, requires_grad=True) for _ in train]
    queue = iter(leaves)
    result = mw.hypergradient(
        steps.student, optimizer, train, steps.meta, lambda _: next(queue), leaves, "reverse"
    )
    truth = torch.cat(steps.slopes([w.detach() for w in leaves]))
    assert relative(torch.cat(result.grads), truth) < 1e-6
