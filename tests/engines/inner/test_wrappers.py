"""Wrappers around an optimizer: those that take its step are looked through, others are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from students import batch
from torch import nn
from torch.optim import Optimizer

import metaweight as mw
from metaweight.engines.inner import as_one, members


def linear() -> nn.Linear:
    return nn.Linear(8, 3).double()


class LightningOptimizer:
    """A stand-in for the one of that name."""

    __module__ = "lightning.pytorch.core.optimizer"

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.param_groups = optimizer.param_groups


class Lookahead(Optimizer):
    """Wraps an optimizer and takes another step."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.param_groups = optimizer.param_groups


def test_wrappers_are_looked_through() -> None:
    weight, bias = linear().parameters()
    sgd, adam = torch.optim.SGD([weight], lr=0.1), torch.optim.Adam([bias])
    wrapped = LightningOptimizer(sgd)
    assert as_one(wrapped) is sgd
    assert as_one(LightningOptimizer(wrapped)) is sgd  # type: ignore[arg-type]
    assert members(as_one([wrapped, adam])) == (sgd, adam)
    dynamic = type("LightningSGD", (LightningOptimizer, torch.optim.SGD), {})
    assert as_one(dynamic(sgd)) is sgd
    with pytest.raises(TypeError, match=r"Lookahead wraps another optimizer.*pass its \.optimizer"):
        as_one(Lookahead(sgd))


def test_accelerates_optimizer_is_looked_through(accelerator: Callable[..., Any]) -> None:
    module = linear()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
    wrapped = accelerator().prepare(optimizer)
    assert wrapped is not optimizer
    student, train = mw.Student(module), batch((8,), 6, 1)
    teacher = mw.build_teacher("mw-net", spec=student.spec(train))
    reweighter = mw.Reweighter(student, teacher, optimizer=wrapped)
    reweighter.step(train, batch((8,), 5, 2))
    assert reweighter.optimizer is wrapped
    assert optimizer.state[module.weight]["step"] == 1
