"""Matrix products of a window, in plain steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import metaweight as mw
from metaweight.engines.reverse import Reverse
from metaweight.teachers import build_teacher

WIDTH, ROWS = 32, 16


def flops(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def batch(seed: int) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(ROWS, WIDTH, generator=g)
    return mw.Batch((x,), torch.randint(0, WIDTH, (ROWS,), generator=g), torch.arange(ROWS))


def in_plain_steps(steps: int) -> float:
    """Of an iteration, the real steps among them."""
    torch.manual_seed(0)
    module = nn.Sequential(*(part for _ in range(6) for part in (nn.Linear(WIDTH, WIDTH), nn.Tanh())))
    student = mw.Student(module)
    teacher = build_teacher("mw-net", student.spec(batch(0)))
    live = mw.Reweighter(
        student,
        teacher,
        optimizer=torch.optim.Adam(module.parameters()),
        engine=Reverse(replay="snapshots"),
        unroll=steps,
    )
    train = [batch(seed) for seed in range(steps)]
    for _ in range(4):  # the first, the second and the fourth are checked
        live.step(train, batch(99))
    plain = flops(lambda: nn.functional.cross_entropy(module(train[0].args[0]), train[0].targets).backward())
    return flops(lambda: live.step(train, batch(99))) / plain


def test_a_step_takes_four_plain_ones_beside_the_real_one_and_the_first_one_less() -> None:
    """Out 1, again 1, back through both 2; nobody asks what the first step's parameters would change."""
    two, three, four = map(in_plain_steps, (2, 3, 4))
    step, meta = three - two, 1
    assert four - three == pytest.approx(step, rel=1e-3)
    assert 4.8 < step < 5
    assert two - meta < 2 * step - 1.2
