"""Co-teaching: the loss by hand, the course of the keep rate, and a loop of two networks beside ours."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metaweight as mw
from metaweight.remedies import Course
from metaweight.remedies.co_teaching import CoTeaching, CoTeachingLoss, Forgetting, KeepRate, Pair
from metaweight.tasks import tasks
from metaweight.tasks.config import ImageConfig
from metaweight.training.trainer import Trainer

DOUBLE = torch.float64


def test_each_student_learns_from_what_the_other_one_picks() -> None:
    # of two classes with logits (z, 0) the loss of label 0 is log(1 + e^-z): it falls with z
    z = torch.tensor([[0.0, 3.0], [1.0, 2.0], [2.0, 1.0], [3.0, 0.0]], dtype=DOUBLE)
    logits = torch.stack([z, torch.zeros_like(z)], dim=-1).requires_grad_()
    loss = CoTeachingLoss(keep=0.5)(logits, torch.zeros(4, dtype=torch.long))
    own = torch.log1p(torch.exp(-z))
    # the first picks samples 2 and 3 for the second, the second 0 and 1 for the first; scaled by 4 / 2
    expected = [2 * own[0, 0], 2 * own[1, 0], 2 * own[2, 1], 2 * own[3, 1]]
    assert loss.tolist() == pytest.approx([float(value) for value in expected], rel=1e-14)
    (slope,) = torch.autograd.grad(loss.mean(), logits)
    assert slope[:2, 1].abs().sum() == slope[2:, 0].abs().sum() == 0


@pytest.mark.parametrize(
    ("keep", "size", "picked"), [(0.7, 10, 7), (1 - 0.1 * 3, 10, 7), (0.59, 10, 5), (0.01, 10, 1)]
)
def test_the_share_is_rounded_down_to_whole_samples(keep: float, size: int, picked: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(size, 1, 3, dtype=DOUBLE, generator=generator).expand(-1, 2, -1)
    loss = CoTeachingLoss(keep)(logits, torch.zeros(size, dtype=torch.long))
    assert int((loss > 0).sum()) == picked


def test_the_keep_rate_falls_and_then_stays() -> None:
    rate = KeepRate(0.4, gradual=4)
    assert [rate.at(epoch) for epoch in range(7)] == pytest.approx(
        [1, 0.9, 0.8, 0.7, 0.6, 0.6, 0.6], rel=1e-15
    )


class Batches:
    """Three random batches of 10, the same in every epoch."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.x = torch.randn(3, 10, 4, dtype=DOUBLE, generator=generator)
        self.y = torch.randint(0, 3, (3, 10), generator=generator)

    def __len__(self) -> int:
        return 3

    def batch(self, epoch: int, position: int) -> mw.Batch:
        index = torch.arange(10) + 10 * position
        return mw.Batch((self.x[position],), self.y[position], index)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)).double()


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.9, weight_decay=0.01)


def by_hand(first: nn.Module, second: nn.Module, *, epochs: int, rate: float, gradual: int) -> None:
    """Two networks, two optimizers, and the lists of samples that they exchange."""
    one, two, batches = sgd(first), sgd(second), Batches()
    for epoch in range(epochs):
        kept = 10 - round(10 * min(rate * epoch / gradual, rate))
        for position in range(3):
            x, y = batches.x[position], batches.y[position]
            ours = F.cross_entropy(first(x), y, reduction="none")
            theirs = F.cross_entropy(second(x), y, reduction="none")
            mine = sorted(range(10), key=ours.tolist().__getitem__)[:kept]
            others = sorted(range(10), key=theirs.tolist().__getitem__)[:kept]
            one.zero_grad()
            ours[others].mean().backward()
            one.step()
            two.zero_grad()
            theirs[mine].mean().backward()
            two.step()


def test_it_is_a_loop_of_two_networks() -> None:
    first, second = network(0), network(1)
    theirs = copy.deepcopy(first), copy.deepcopy(second)
    loss = CoTeachingLoss()
    student = mw.Student(pair := Pair(first, second), loss)
    uniform = mw.build_teacher("uniform", spec=student.spec(Batches().batch(0, 0)))
    reweighter = mw.Reweighter(student, uniform, optimizer=sgd(pair))
    Trainer(reweighter, Batches(), epochs=5, callbacks=(Forgetting(loss, KeepRate(0.4, 4)),)).fit()
    by_hand(*theirs, epochs=5, rate=0.4, gradual=4)
    for ours, expected in zip((first, second), theirs, strict=True):
        for name, value in ours.state_dict().items():
            assert torch.allclose(value, expected.state_dict()[name], rtol=1e-10, atol=1e-13), name
    assert loss.keep == pytest.approx(0.6)


def test_in_evaluation_the_pair_is_its_first_student() -> None:
    pair, x = Pair(network(0), network(1)), Batches().x[0]
    assert pair(x).shape == (10, 2, 3)
    pair.eval()
    alone = pair.first.eval()(x)
    assert torch.equal(pair(x), alone)
    labels = Batches().y[0]
    plain = F.cross_entropy(alone, labels, reduction="none")
    assert torch.equal(CoTeachingLoss(0.1)(pair(x), labels), plain)


def test_the_students_begin_apart_and_forget_the_nominal_rate(digits: ImageConfig) -> None:
    course = Course(digits, tasks["image"].prepare(digits))
    stage = CoTeaching().last(course)
    assert stage.reweighter is not None
    pair = stage.reweighter.student.module
    assert isinstance(pair, Pair)
    plain = course.build().student.module.state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in pair.first.state_dict().items())
    weights: tuple[Tensor, ...] = (pair.first.head.weight, pair.second.head.weight)  # type: ignore[assignment, union-attr]
    assert not torch.equal(*weights)
    (forgetting,) = stage.callbacks
    assert isinstance(forgetting, Forgetting)
    assert forgetting.course == KeepRate(0.4, 10)
    own = CoTeaching(forget_rate=0.2, gradual=3).last(course).callbacks[0]
    assert isinstance(own, Forgetting)
    assert own.course == KeepRate(0.2, 3)
