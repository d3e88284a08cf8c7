"""``l2rw`` and ``recall`` take the size of its residual out of each slope of a number."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import metaweight as mw

DOUBLE = torch.float64


def numbers(size: int, seed: int) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 4, generator=g, dtype=DOUBLE)
    return mw.Batch((x,), x[:, 0] + 3 * torch.randn(size, generator=g, dtype=DOUBLE), torch.arange(size))


def linear_student() -> mw.Student:
    torch.manual_seed(0)
    return mw.Student(nn.Linear(4, 1).double(), loss=mw.losses.squared_error)


def slopes_over_residuals(student: mw.Student, train: mw.Batch, meta: mw.Batch, rate: float) -> Tensor:
    """-(rate / n) <grad meta, grad loss_i> by single passes, over the residuals' size."""
    module = student.module
    parameters = list(module.parameters())

    def grad(x: Tensor, y: Tensor) -> Tensor:
        loss = (module(x).flatten() - y).square().mean()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])

    (x,), y = train.inputs, train.targets
    each = torch.stack([grad(x[i : i + 1], y[i : i + 1]) for i in range(len(y))])
    trusted = grad(meta.inputs[0], meta.targets)  # l2rw takes no virtual step at zero weights
    residual = (module(x).flatten() - y).detach().abs()
    return -rate / len(y) * (each @ trusted) / (residual + 0.05 * residual.quantile(0.5))


@pytest.mark.parametrize("engine", ["higher", "forward", "double", "ghost"])
def test_l2rw_weighs_numbers_by_slopes_over_residuals(engine: str) -> None:
    student, train, meta = linear_student(), numbers(9, 1), numbers(7, 2)
    helps = (-slopes_over_residuals(student, train, meta, 0.1)).clamp_min(0)
    reweighter = mw.Reweighter(
        student,
        mw.build_teacher("l2rw", student.spec(train)),
        optimizer=torch.optim.SGD(student.module.parameters(), lr=0.1),
        engine=engine,
    )
    weights = reweighter.step(train, meta).weights
    torch.testing.assert_close(weights, helps / helps.mean(), rtol=1e-9, atol=1e-12)


def test_recall_remembers_slopes_over_residuals_in_a_window_of_steps_too() -> None:
    signals = []
    for unit in (1.0, 1e3):
        student = linear_student()
        train, meta = [numbers(6, 1), numbers(6, 3)], numbers(7, 2)
        # one sample of another scale, whose slope would drown the others
        train[0].targets[2] *= unit
        teacher = mw.build_teacher("recall", student.spec(train[0], samples=6), gain=0.0)
        seen: list[Tensor] = []
        teacher.take_hypergradient = lambda index, slopes: seen.append(slopes)  # noqa: B023
        mw.Reweighter(
            student,
            teacher,
            optimizer=torch.optim.SGD(student.module.parameters(), lr=1e-6),
            engine="higher",
            unroll=2,
        ).step(train, meta)
        assert len(seen) == 2
        signals.append(seen[0])
    others = [0, 1, 3, 4, 5]
    # the batch's median residual, of which a twentieth is added to each, is another one
    torch.testing.assert_close(signals[0][others], signals[1][others], rtol=0.1, atol=0)
    assert float(signals[1][2].abs()) < 3 * float(signals[0].abs().max())


@pytest.mark.parametrize("name", ["l2rw", "recall"])
def test_labels_keep_their_slopes(name: str) -> None:
    student = mw.Student(nn.Linear(4, 3).double())
    batch = mw.Batch((torch.randn(5, 4, dtype=DOUBLE),), torch.tensor([0, 1, 2, 0, 1]), torch.arange(5))
    teacher = mw.build_teacher(name, spec=student.spec(batch, samples=5))
    assert teacher.slope_scale(student(batch).state()) is None
