"""Windows of several steps with every optimizer: their hypergradient, and a live optimizer that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from optimizer_cases import CASES, REAL_ONLY, SHARP, built
from slowly import covering, one_in
from students import batch
from torch import Tensor, nn
from torch.optim import Optimizer

import metaweight as mw
from metaweight.engines import Engine, Reverse
from metaweight.engines.inner import register
from metaweight.engines.inner.rules import Options, State
from metaweight.testing.oracles import RealSteps, cross_entropy, plain_step, relative, twin


class Spectral(nn.Module):
    """A complex layer between real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 4)
        self.spectrum = nn.Parameter(torch.randn(4, 3, dtype=torch.complex64) * 0.5)
        self.head = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head((torch.tanh(self.first(x)).to(self.spectrum.dtype) @ self.spectrum).abs())
        return logits


def layers() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3))


def start(case: str, *, real: bool, warm: int) -> tuple[nn.Module, Optimizer]:
    """A student in double precision and its optimizer after ``warm`` steps of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = layers() if real else Spectral()
    for p in module.parameters():
        p.data = p.data.to(torch.complex128 if p.is_complex() else torch.float64)
    optimizer = built(case)(list(module.parameters()))
    for number in range(warm):
        plain_step(module, optimizer, batch((8,), 6, 50 + number), torch.ones(6, dtype=torch.float64))
    return module, optimizer


ENGINES = {"reverse": lambda: Reverse("snapshots"), "higher": lambda: mw.engines.build_engine("higher")}


def weights_of(count: int) -> list[Tensor]:
    g = torch.Generator().manual_seed(8)
    return [torch.rand(6, generator=g, dtype=torch.float64) + 0.4 for _ in range(count)]


@pytest.mark.parametrize(("case", "engine"), covering(CASES, ENGINES))
def test_three_steps_have_the_hypergradient_of_differences(case: str, engine: str) -> None:
    module, optimizer = start(case, real=True, warm=4)
    require_slopes(module, optimizer, ENGINES[engine]())


@pytest.mark.parametrize("case", one_in(2, [case for case in CASES if case not in SHARP]))
def test_three_first_steps_have_the_hypergradient_of_differences(case: str) -> None:
    module, optimizer = start(case, real=True, warm=0)
    require_slopes(module, optimizer, Reverse("snapshots"))


class Trusting(Optimizer):
    """One number for each parameter: 1 at first, then it follows the gradient's length."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.2})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            moved, self.state[p] = trusting(p, p.grad, self.state[p], self.param_groups[0])
            p.copy_(moved)


def trusting(
    parameter: Tensor, gradient: Tensor, state: State, options: Options
) -> tuple[Tensor, dict[str, Any]]:
    if "trust" not in state:
        return parameter - options["lr"] * gradient, {"trust": torch.ones((), dtype=torch.float64)}
    trust = 0.7 * state["trust"] + gradient.square().sum()
    return parameter - options["lr"] * trust * gradient, {"trust": trust}


register(Trusting, trusting)


@pytest.mark.parametrize("warm", [0, 2])
def test_a_state_of_one_number_takes_part_in_the_hypergradient(warm: int) -> None:
    module, _ = start("sgd", real=True, warm=0)
    optimizer = Trusting(module.parameters())
    for number in range(warm):
        plain_step(module, optimizer, batch((8,), 6, 50 + number), torch.ones(6, dtype=torch.float64))
    require_slopes(module, optimizer, Reverse("snapshots"))


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case not in REAL_ONLY])
def test_three_steps_on_complex_parameters_have_the_hypergradient_of_differences(case: str) -> None:
    module, optimizer = start(case, real=False, warm=4)
    require_slopes(module, optimizer, Reverse("snapshots"))


def require_slopes(
    module: nn.Module, optimizer: Optimizer, engine: Engine, max_norm: float | None = 0.3
) -> None:
    steps = RealSteps(
        mw.Student(module),
        optimizer,
        [batch((8,), 6, 1 + number) for number in range(3)],
        batch((8,), 5, 9),
        max_norm,
        rates=[[group["lr"] * 0.8**number for group in optimizer.param_groups] for number in range(3)],
    )
    weights = weights_of(3)
    leaves = [w.clone().requires_grad_() for w in weights]
    queue = iter(leaves)
    result = mw.hypergradient(
        steps.student,
        optimizer,
        steps.train,
        steps.meta,
        lambda _: next(queue),
        leaves,
        engine,
        max_norm=max_norm,
        rates=steps.rates,
    )
    assert relative(torch.cat(result.grads), torch.cat(steps.slopes(weights))) < 1e-6
    assert float(result.meta_loss) == pytest.approx(steps.meta_loss(weights), rel=1e-12)


@pytest.mark.parametrize(("case", "engine", "warm"), covering(CASES, ENGINES, [0, 3], pairs=True))
def test_after_an_online_window_the_optimizer_goes_on_as_its_own_steps_would(
    case: str, engine: str, warm: int
) -> None:
    module, optimizer = start(case, real=True, warm=warm)
    require_going_on(module, optimizer, ENGINES[engine]())


@pytest.mark.parametrize("case", [case for case in CASES if case not in REAL_ONLY])
def test_after_an_online_window_complex_states_go_on(case: str) -> None:
    module, optimizer = start(case, real=False, warm=0)
    require_going_on(module, optimizer, Reverse("snapshots"))


def require_going_on(module: nn.Module, optimizer: Optimizer | Sequence[Optimizer], engine: Engine) -> None:
    """Three steps of a window and two plain ones are five plain ones of a twin."""
    student = mw.Student(module)
    other, own = twin(module, optimizer)  # type: ignore[arg-type]
    several, own_several = _all(optimizer), _all(own)
    train = [batch((8,), 6, 20 + number) for number in range(5)]
    teacher = mw.build_teacher("mw-net", spec=student.spec(train[0]))
    reweighter = mw.Reweighter(
        student, teacher, optimizer=optimizer, engine=engine, schedule="online", unroll=3, max_norm=0.5
    )
    report = reweighter.step(train[:3], batch((8,), 5, 9))
    for one, weights in zip(train[:3], report.weights.split(6), strict=True):
        step(other, own_several, one, weights)
    require_same(module, other)
    for one in train[3:]:
        for body, each in ((module, several), (other, own_several)):
            step(body, each, one, torch.ones(6, dtype=torch.float64))
        require_same(module, other)


def step(module: nn.Module, optimizers: Sequence[Optimizer], train: mw.Batch, weights: Tensor) -> None:
    module.zero_grad()
    (weights * cross_entropy(module(*train.inputs), train.targets)).mean().backward()
    nn.utils.clip_grad_norm_(module.parameters(), 0.5)
    for one in optimizers:
        one.step()


def require_same(ours: nn.Module, truth: nn.Module) -> None:
    for a, b in zip(ours.parameters(), truth.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def _all(optimizer: Optimizer | Sequence[Optimizer]) -> Sequence[Optimizer]:
    return [optimizer] if isinstance(optimizer, Optimizer) else optimizer


@pytest.mark.parametrize("warm", [0, 2])
def test_muon_for_matrices_and_adamw_for_the_rest_go_on(warm: int) -> None:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    module = layers().double()
    matrices = [p for p in module.parameters() if p.dim() == 2]
    vectors = [p for p in module.parameters() if p.dim() == 1]
    both = [torch.optim.Muon(matrices, lr=0.1, momentum=0.8), torch.optim.AdamW(vectors, lr=0.05)]
    for number in range(warm):
        step(module, both, batch((8,), 6, 70 + number), torch.ones(6, dtype=torch.float64))
    require_going_on(module, both, Reverse("snapshots"))
