"""The page on many GPUs is what its formulas give, and their factors are what small students take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from slowly import slowly
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import metaweight as mw
from benchmarks.parallel.run import measured
from benchmarks.parallel.scaling import (
    COSTS,
    PAGE,
    WHOLE_PARAMETERS,
    Setting,
    Transformer,
    flops,
    held,
    page,
    sent,
)
from benchmarks.parallel.work import Job

WIDTH, LAYERS, LENGTH = 32, 12, 24
ROOT = Path(__file__).parents[2]
TABLE = {**COSTS, **WHOLE_PARAMETERS}
OURS = [name for name in TABLE if "ghost" in name]
OTHERS = [name for name in TABLE if name not in ("plain", *OURS)]


class Block(nn.Module):
    """Four matrices, and attention's products without any."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.q(x) @ self.k(x).transpose(1, 2)
        return x + self.o(scores.softmax(dim=-1) @ self.v(x))


class Reader(nn.Sequential):
    """Rows of vectors to one number a class."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean(dim=1)


def counted(engine: str, schedule: str, rows: int, trusted: int) -> int:
    """FLOPs of an iteration."""
    torch.manual_seed(0)
    student = mw.Student(Reader(*(Block() for _ in range(LAYERS))))
    teacher = mw.build_teacher("mw-net", student.spec(batch(4, 0)))
    live = mw.Reweighter(
        student,
        teacher,
        optimizer=torch.optim.SGD(student.module.parameters(), lr=0.1),
        engine=engine,
        schedule=schedule,
        check_every=0,
    )
    live.step(batch(rows, 1), batch(trusted, 2))
    with FlopCounterMode(display=False) as count:
        live.step(batch(rows, 3), batch(trusted, 4))
    return count.get_total_flops()


def batch(rows: int, seed: int) -> mw.Batch:
    x = torch.randn(rows, LENGTH, WIDTH, generator=torch.Generator().manual_seed(seed))
    return mw.Batch((x,), x.mean(dim=1).argmax(dim=1), torch.arange(rows))


@pytest.mark.parametrize("name", [*OURS, *slowly(*OTHERS)])
def test_flops(name: str) -> None:
    engine, schedule = name.split(", ")
    cost = TABLE[name]
    matrices, products = 2 * 4 * WIDTH**2 * LAYERS * LENGTH, 4 * LENGTH * WIDTH * LAYERS * LENGTH
    few, more, trusted = (counted(engine, schedule, *sizes) for sizes in ((8, 4), (16, 4), (8, 8)))
    train = cost.train * matrices + cost.attention * products
    # the first layer's input needs no gradient
    assert (more - few) / 8 == pytest.approx(train, rel=0.03)
    assert (trusted - few) / 4 == pytest.approx(cost.meta * (matrices + products), rel=0.03)


@pytest.mark.slow
def test_memory_falls_as_one_over_the_number_of_processes() -> None:
    """Above what the processes have without a student, in copies of the parameters."""
    job = Job(engine="ghost", optimizer="adamw", sharded=True, width=768, depth=20, batch_size=16)
    job = replace(job, meta_batch_size=8, iterations=3)
    whole = 4 * (19 * 768**2 + 257 * 768 + 20 * 3 * 768 + 769 * 20) / 2**20
    layer = 4 * 768**2 / 2**20
    for size in (1, 2, 4):
        found = max(one.memory for one in measured(size, job))
        expected = (3 + COSTS["ghost, online"].copies) * whole / size
        assert 0.93 * expected <= found <= expected + 12 * layer


def test_the_page() -> None:
    assert (ROOT / PAGE).read_text() == page(Setting())


def test_llamas_sizes() -> None:
    """As published: 6,738,415,616 parameters."""
    assert Transformer().parameters == 6_738_415_616


def test_twice_as_many_processes_hold_half_as_much() -> None:
    cost, few = COSTS["ghost, online"], Setting()
    many = replace(few, processes=128)
    assert held(cost, many)[0] == held(cost, few)[0] / 2
    assert sent(cost, many) == pytest.approx(sent(cost, few), rel=0.01)
    assert flops(COSTS["ghost, online"], few) < flops(COSTS["ghost, lookahead"], few)
