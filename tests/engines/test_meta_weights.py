"""What trusted units count in the meta loss, in every engine, against differences of real steps."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

import metaweight as mw
from metaweight.engines.base import Problem, build_engine, shares_of
from metaweight.engines.checks import EngineError
from metaweight.testing.oracles import RealSteps, cross_entropy, relative

ONE_STEP = ("double", "forward", "ghost", "difference")
COUNTS = torch.tensor([0.0, 1.0, 0.25, 3.0, 0.5], dtype=torch.float64)


def batch(size: int, seed: int) -> mw.Batch:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 4, generator=generator, dtype=torch.float64)
    return mw.Batch(
        inputs=(inputs,), targets=torch.randint(3, (size,), generator=generator), index=torch.arange(size)
    )


@dataclass
class Parts:
    """A student, its optimizer and batches."""

    momentum: float = 0.9
    train: list[mw.Batch] = field(default_factory=lambda: [batch(6, 1)])
    meta: mw.Batch = field(default_factory=lambda: batch(5, 3))

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
        self.student = mw.Student(module)
        self.optimizer = torch.optim.SGD(module.parameters(), lr=0.3, momentum=self.momentum)

    def slopes(self, engine, weigh_meta):
        weights = [torch.full((6,), 0.7, dtype=torch.float64, requires_grad=True) for _ in self.train]
        todo = iter(weights * 3)
        result = mw.engines.hypergradient(
            self.student,
            self.optimizer,
            self.train,
            self.meta,
            lambda state: next(todo),
            weights,
            engine,
            weigh_meta=weigh_meta,
        )
        return result, [w.detach() for w in weights]


class Counted(RealSteps):
    """Real steps and the meta loss as a user would write it."""

    def meta_loss(self, weights, still=None):
        module, _ = self.taken(weights)
        with torch.no_grad():
            losses = cross_entropy(self.meta.call(module), self.meta.targets)
        return float((COUNTS * losses).sum() / COUNTS.sum())


def counts(index: Tensor) -> Tensor:
    return COUNTS[index]


@pytest.mark.parametrize("engine", ONE_STEP)
def test_engines_of_one_step_take_the_gradient_of_the_counted_loss(engine):
    parts = Parts()
    result, weights = parts.slopes(engine, counts)
    (real,) = Counted(parts.student, parts.optimizer, parts.train, parts.meta).slopes(weights)
    (plain,) = RealSteps(parts.student, parts.optimizer, parts.train, parts.meta).slopes(weights)
    assert relative(result.slopes[0], real) < (1e-7 if engine == "difference" else 1e-9)
    assert relative(result.slopes[0], plain) > 0.1
    losses = result.meta_state.loss
    assert float(result.meta_loss) == pytest.approx(float(losses.mean()))  # what is shown counts all alike


@pytest.mark.parametrize("engine", ["higher", "reverse"])
def test_engines_of_several_steps_do_too(engine):
    parts = Parts(train=[batch(6, 1), batch(6, 2)])
    result, weights = parts.slopes(engine, counts)
    real = Counted(parts.student, parts.optimizer, parts.train, parts.meta).slopes(weights)
    for ours, theirs in zip(result.slopes, real, strict=True):
        assert relative(ours, theirs) < 1e-8


def test_the_implicit_gradient_is_that_of_the_counted_loss():
    parts = Parts(momentum=0.0)
    engine = build_engine("implicit", damping=1.0, iterations=200)
    ours, _ = parts.slopes(engine, counts)
    alone = [parts.slopes(engine, lambda index, k=k: (index == k).double())[0].slopes[0] for k in range(5)]
    mixed = sum(share * slope for share, slope in zip(COUNTS / COUNTS.sum(), alone, strict=True))
    assert relative(ours.slopes[0], mixed) < 1e-6  # linear in what each counts


def test_none_and_zeros_count_all_alike():
    parts = Parts()
    plain, _ = parts.slopes("double", None)
    for same in (lambda index: None, lambda index: 0.0 * index, lambda index: 1.0 + 0.0 * index):
        ours, _ = parts.slopes("double", lambda index, same=same: same(index))
        torch.testing.assert_close(ours.slopes[0], plain.slopes[0])
    assert shares_of(COUNTS).mean() == pytest.approx(1.0)


def test_a_check_against_real_runs_knows_what_units_count(monkeypatch):
    parts = Parts(train=[batch(6, 1), batch(6, 2)])
    parts.slopes("reverse", counts)
    monkeypatch.setattr(Problem, "joined_meta_loss", lambda self, meta: float(meta.losses.mean()))
    with pytest.raises(EngineError):
        parts.slopes("reverse", counts)


class Doubting(mw.Teacher):
    """Weights 1 and a parameter; of trusted samples the first alone counts."""

    def __init__(self, spec: object = None) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, state: mw.StudentState) -> Tensor:
        return torch.exp(self.shift * state.loss)

    def meta_weights(self, index: Tensor) -> Tensor:
        return (index == 0).double()


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_a_reweighter_learns_from_the_trusted_samples_that_its_teacher_counts(schedule):
    def gradient(meta: mw.Batch) -> float:
        parts, teacher = Parts(meta=meta), Doubting()
        optimizer = torch.optim.SGD(teacher.parameters(), lr=1.0)
        reweighter = mw.Reweighter(
            parts.student,
            teacher,
            optimizer=parts.optimizer,
            teacher_optimizer=optimizer,
            engine="double",
            schedule=schedule,
        )
        reweighter.step(parts.train[0], parts.meta)
        return float(teacher.shift.detach())

    whole = batch(5, 3)
    first = mw.Batch(inputs=(whole.inputs[0][:1],), targets=whole.targets[:1], index=whole.index[:1])
    assert gradient(whole) == pytest.approx(gradient(first), rel=1e-12)
    assert gradient(whole) != 0
