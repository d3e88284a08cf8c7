"""``auto``: which engine it takes for which student, what it does where one cannot, and that it says so."""

from __future__ import annotations

import logging
import re

import pytest
import torch
from students import batch, make
from torch import Tensor, nn

import metaweight as mw
from metaweight.core.randomness import RandomState
from metaweight.engines import EngineError
from metaweight.engines.auto import Auto
from metaweight.engines.base import Recorded
from metaweight.testing.oracles import relative

CHOICES = {
    "batchnorm-resnet": ("forward", r"'bn1' \(BatchNorm2d\) couples the samples"),
    "groupnorm-resnet": ("ghost", "no layer couples"),
    "words": ("ghost", "no layer couples"),
    "tied-and-frozen": ("ghost", "no layer couples"),
    "encoder": ("ghost", "no layer couples"),
    "gru": ("ghost", "no layer couples"),
}


def slopes(engine: object, *problem: object) -> Tensor:
    w = torch.linspace(0.5, 1.5, 6, dtype=torch.float64).requires_grad_()
    return mw.hypergradient(*problem, lambda _s: w, [w], engine).grads[0]


def of(module: nn.Module) -> tuple[object, ...]:
    own = torch.optim.SGD(module.parameters(), lr=0.1)
    return mw.Student(module), own, batch((3, 8), 6, 1), batch((3, 8), 5, 2)


@pytest.mark.parametrize("student", CHOICES)
def test_the_choice_for_each_student(student: str, caplog: pytest.LogCaptureFixture) -> None:
    problem, engine = make(student, "momentum"), Auto()
    assert engine.chosen is None
    expected, why = CHOICES[student]
    with caplog.at_level(logging.INFO, logger="metaweight"):
        found = slopes(engine, *problem)
        slopes(engine, *problem)
    assert engine.chosen == expected
    (record,) = caplog.records  # once for a student, not at every step
    assert f"takes {expected}" in record.getMessage()
    assert re.search(why, engine.why)
    # the try is made with attention written out, which rounds otherwise
    assert relative(found, slopes(expected, *problem)) <= 1e-13


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
@pytest.mark.parametrize(
    ("student", "choice", "unroll"),
    [("batchnorm-resnet", "forward", 1), ("words-dropout", "ghost", 1), ("words-dropout", "reverse", 3)],
)
def test_training_with_it_is_training_with_its_choice_bit_for_bit(
    student: str, choice: str, unroll: int, schedule: str
) -> None:
    ends = []
    for engine in (choice, "auto"):
        built, own, train, meta = make(student, "momentum")
        teacher = mw.build_teacher("mw-net", spec=built.spec(train))
        learner = torch.optim.SGD(teacher.parameters(), lr=0.5)
        reweighter = mw.Reweighter(
            built,
            teacher,
            optimizer=own,
            teacher_optimizer=learner,
            engine=engine,
            schedule=schedule,
            unroll=unroll,
        )
        torch.manual_seed(1)
        for _ in range(3):
            reweighter.step([train] * unroll if unroll > 1 else train, meta)
        ends.append([*built.module.state_dict().values(), *teacher.parameters(), torch.get_rng_state()])
    assert all(map(torch.equal, *ends))


class Centred(nn.Module):
    """Couples the samples, which ghost sees in their gradients only."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x - x.mean(0))


def test_every_try_sees_the_same_masks_and_asks_the_teacher_once() -> None:
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Dropout(0.4), nn.Linear(24, 6), Centred(), nn.Linear(6, 3)
    module = nn.Sequential(*layers).double()
    own = torch.optim.SGD(module.parameters(), lr=0.1)
    calls: list[Tensor] = []

    def weigh(state: mw.StudentState) -> Tensor:
        calls.append(state.loss)
        return w

    w = torch.ones(6).double().requires_grad_()
    engine = Auto()
    torch.manual_seed(3)
    student = mw.Student(module)
    found = mw.hypergradient(student, own, batch((3, 8), 6, 1), batch((3, 8), 5, 2), weigh, [w], engine)
    assert engine.chosen == "double"
    assert len(calls) == 1
    torch.manual_seed(3)
    truth = mw.hypergradient(student, own, batch((3, 8), 6, 1), batch((3, 8), 5, 2), weigh, [w], "higher")
    torch.testing.assert_close(calls[0], calls[1], rtol=1e-12, atol=0)
    assert relative(found.grads[0], truth.grads[0]) <= 1e-9


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_a_failed_try_leaves_the_recorded_pass_to_the_next_engine(schedule: str) -> None:
    """Samples that are coupled by hand are seen only by ghost's check, after its backward."""

    class Coupled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.tanh(self.first(x[:, 0]))
            return self.head(torch.tanh(x - x.mean(0)))

    results, auto = [], Auto()
    for engine in (auto, "higher"):
        torch.manual_seed(0)
        module = Coupled().double()
        student = mw.Student(module)
        teacher = mw.build_teacher("mw-net", spec=student.spec(batch((3, 8), 6, 1)))
        reweighter = mw.Reweighter(
            student,
            teacher,
            optimizer=torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9),
            teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=0.01),
            engine=engine,
            schedule=schedule,
        )
        for step in range(3):
            reweighter.step(batch((3, 8), 6, step), batch((3, 8), 5, 10 + step))
        results.append(nn.utils.parameters_to_vector([*module.parameters(), *teacher.parameters()]).detach())
    assert auto.chosen == "double"
    assert "couples the samples of a batch" in auto.why
    assert relative(*results) <= 1e-9


def test_training_and_evaluation_mode_are_two_choices() -> None:
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Linear(24, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)
    module = nn.Sequential(*layers).double()
    problem = of(module)
    engine, seen = Auto(), []
    for training in (True, False, True):
        module.train(training)
        assert relative(slopes(engine, *problem), slopes("higher", *problem)) <= 1e-9
        seen.append(engine.chosen)
    assert seen == ["forward", "ghost", "forward"]


def test_where_none_can_every_reason_is_given() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag, self.head = nn.EmbeddingBag(10, 4, mode="max"), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.bag((x[..., 0].abs() * 3).long().clamp(max=9)))

    torch.manual_seed(0)
    module = Bag().double()
    problem = of(module)
    with pytest.raises(EngineError, match=r"no exact engine.*ghost: .*double: .*forward: .*higher: "):
        slopes("auto", *problem)


class LosesHalf(nn.Module):
    """A convolution, coupled samples, and a branch that loses its tangent where no graph is recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.head(torch.tanh(self.conv(x)).flatten(1))
        out = out - out.mean(0)
        again = self.head(torch.tanh(self.conv(2 * x)).flatten(1))
        return out + (again if torch.is_grad_enabled() else again.data)


def test_a_try_that_fails_at_its_last_check_leaves_the_graph() -> None:
    """At zero weights ``forward`` is found out by the check with other weights, after all its backwards."""
    torch.manual_seed(0)
    module = LosesHalf().double()
    student, own = mw.Student(module), torch.optim.SGD(module.parameters(), lr=0.1)
    train, meta = batch((1, 4, 4), 6, 1), batch((1, 4, 4), 5, 2)
    engine, w = Auto(), torch.zeros(6).double().requires_grad_()
    random, buffers = RandomState.of(student.device), student.buffers()
    with engine.keeping(student) as kept:
        recorded = Recorded(student(train), buffers, random, keep_graph=False, kept=kept)
    found, truth = (
        mw.hypergradient(student, own, train, meta, lambda _s: w, [w], e, recorded=r).grads[0]
        for e, r in ((engine, recorded), ("higher", None))
    )
    assert engine.chosen == "double"
    assert "not forward: ForwardMode gives" in engine.why
    assert relative(found, truth) <= 1e-9
