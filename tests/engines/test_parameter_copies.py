"""How many tensors of the parameters' size an iteration holds at its peak."""

from __future__ import annotations

import pytest
import torch
from slowly import covering
from torch import nn

import metaweight as mw
from metaweight.engines import one_step
from metaweight.engines.inner import adam, packs
from metaweight.teachers import build_teacher
from tests.live_tensors import LiveBytes, held_by

WIDTH, LAYERS, ROWS = 96, 12, 4
OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-4),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
}
ALLOWED = {"sgd": 3.5, "adam": 4.0, "adamw": 4.0}
"""Plain training holds 1.0, and 1.4 with Adam."""


@pytest.fixture(autouse=True)
def large_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adam, "PIECE", WIDTH * WIDTH // 4)
    monkeypatch.setattr(packs, "PACK", WIDTH * WIDTH // 4)
    monkeypatch.setattr(one_step, "SMALL", WIDTH * WIDTH // 4)


def batch(seed: int) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(ROWS, WIDTH, generator=g)
    return mw.Batch((x,), torch.randint(0, 10, (ROWS,), generator=g), torch.arange(ROWS))


def copies(engine: str, schedule: str, name: str, *, steps: int) -> float:
    """Of the parameters, at the peak of the iteration after ``steps``, the gradients of the last one too."""
    torch.manual_seed(0)
    layers = [part for _ in range(LAYERS) for part in (nn.Linear(WIDTH, WIDTH), nn.Tanh())]
    module = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    optimizer = OPTIMIZERS[name](module.parameters())
    student = mw.Student(module)
    teacher = build_teacher("mw-net", student.spec(batch(0)))
    live = mw.Reweighter(student, teacher, optimizer=optimizer, engine=engine, schedule=schedule)
    for seed in range(steps):
        live.step(batch(2 * seed), batch(2 * seed + 1))
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    apart, least = held_by(optimizer), WIDTH * WIDTH * 4
    with LiveBytes(held=gradients, apart=apart, least=least) as counted:
        live.step(batch(98), batch(99))
    return counted.peak / (LAYERS * least)


@pytest.mark.parametrize(
    ("engine", "schedule", "name"),
    covering(["ghost", "forward", "double"], ["lookahead", "online"], OPTIMIZERS),
)
def test_an_iteration_holds_few_copies_of_the_parameters(engine: str, schedule: str, name: str) -> None:
    assert 2 < copies(engine, schedule, name, steps=4) <= ALLOWED[name]


@pytest.mark.parametrize("engine", ["ghost", "forward", "double"])
def test_so_does_the_first_one_which_is_checked_beside_what_the_optimizer_makes(engine: str) -> None:
    assert 2 < copies(engine, "lookahead", "adam", steps=0) <= 4.7


def test_the_count_knows_a_plain_step() -> None:
    value = torch.zeros(1000, requires_grad=True)
    with LiveBytes(held=[], apart=[value], least=4000) as counted:
        twice = value.detach() * 2
        del twice
        assert counted.peak == 4000
        kept = [value.detach() + n for n in range(3)]
    assert counted.peak == 4000 * len(kept)
