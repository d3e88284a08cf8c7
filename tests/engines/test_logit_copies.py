"""How many tensors of the logits' size an iteration holds at its peak, where the classes are words."""

from __future__ import annotations

import pytest
import torch
from slowly import covering
from torch import Tensor, nn

import metaweight as mw
from metaweight.core import pieces
from metaweight.student.losses import PixelCrossEntropy, TokenCrossEntropy, soft_cross_entropy
from metaweight.teachers import build_teacher
from tests.live_tensors import LiveBytes

WORDS, LENGTH, WIDTH, ROWS = 2000, 16, 8, 8
LOGITS = ROWS * LENGTH * WORDS * 4
"""Bytes of a copy; parameters are smaller than what is counted."""
ALLOWED = {"ghost": 4, "forward": 3, "double": 6}
"""Plain training holds 3; ``double`` the pulls of two products, and their sum."""


@pytest.fixture(autouse=True)
def large_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LARGE", WORDS)
    monkeypatch.setattr(pieces, "PIECE", 16 * WORDS)


class Words(nn.Module):
    """A language model of one word."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.hidden = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WORDS, bias=False)

    def forward(self, words: Tensor) -> Tensor:
        logits: Tensor = self.out(self.hidden(self.embedding(words)).relu())
        return logits


def batch(seed: int) -> mw.Batch:
    """Rows of other lengths, the longest of full length."""
    g = torch.Generator().manual_seed(seed)
    words = torch.randint(1, WORDS, (ROWS, LENGTH + 1), generator=g)
    targets = words[:, 1:].contiguous()
    for row in range(1, ROWS):
        targets[row, LENGTH - row // 4 :] = 0
    return mw.Batch((words[:, :-1].contiguous(),), targets, torch.arange(ROWS))


def copies(engine: str, schedule: str, teacher: str, unit: str, *, steps: int = 4) -> float:
    """Of the logits, at the peak of the iteration after ``steps``."""
    torch.manual_seed(0)
    module = Words()
    student = mw.Student(
        module,
        TokenCrossEntropy(unit=unit),  # type: ignore[arg-type]
        taps=("hidden",),
        time_axes=lambda _tap, batch: mw.TimeAxis(torch.ones_like(batch.inputs[0], dtype=torch.bool)),
    )
    live = mw.Reweighter(
        student,
        build_teacher(teacher, student.spec(batch(0), samples=ROWS)),
        optimizer=torch.optim.SGD(module.parameters(), lr=0.01),
        engine=engine,
        schedule=schedule,
    )
    for seed in range(steps):
        live.step(batch(2 * seed), batch(2 * seed + 1))
    with LiveBytes(held=[], apart=list(module.parameters()), least=LOGITS // 3) as counted:
        live.step(batch(98), batch(99))
    return counted.peak / LOGITS


SCHEDULES = ["lookahead", "online"]


@pytest.mark.parametrize(
    ("engine", "teacher", "schedule"), covering(ALLOWED, ["mw-net", "surface", "mlp"], SCHEDULES, pairs=True)
)
def test_an_iteration_holds_few_copies_of_the_logits(engine: str, teacher: str, schedule: str) -> None:
    assert 2 < copies(engine, schedule, teacher, "sentence") <= ALLOWED[engine]


@pytest.mark.parametrize(
    ("teacher", "schedule"),
    covering(["mw-net", "surface", "mlp", "memory", "jury", "evidence"], SCHEDULES),
)
def test_so_it_does_by_token(teacher: str, schedule: str) -> None:
    assert 2 < copies("forward", schedule, teacher, "token") <= 4


@pytest.mark.parametrize("teacher", ["mw-net", "memory"])
def test_a_second_backward_by_token_holds_no_more(teacher: str) -> None:
    assert 2 < copies("double", "online", teacher, "token") <= ALLOWED["double"]


def test_a_step_without_a_meta_gradient_holds_fewer_than_plain_training() -> None:
    assert copies("forward", "online", "uniform", "sentence") <= 2


def test_the_first_iteration_which_is_checked_holds_no_more() -> None:
    assert copies("ghost", "online", "surface", "sentence", steps=0) <= ALLOWED["ghost"]


COLOURS, SIDE = 60, 12
OF_PLACES = {"ghost": 5, "forward": 6, "double": 6}
OF_SHARES = {"ghost": 5, "forward": 3, "double": 6}
"""Plain training holds 4 of both by torch's own loss."""


@pytest.mark.parametrize(
    ("kind", "engine", "schedule"), covering(["pixels", "soft"], OF_PLACES, SCHEDULES, pairs=True)
)
def test_so_do_a_label_for_each_pixel_and_soft_labels(kind: str, engine: str, schedule: str) -> None:
    torch.manual_seed(0)
    pixels = kind == "pixels"
    module = nn.Sequential(
        *([nn.Conv2d(1, 2, 1), nn.Tanh(), nn.Conv2d(2, COLOURS, 1)] if pixels else []),
        *([] if pixels else [nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, WORDS)]),
    )
    inputs = (ROWS, 1, SIDE, SIDE) if pixels else (ROWS * LENGTH, 1)

    def batch_of(seed: int) -> mw.Batch:
        g = torch.Generator().manual_seed(seed)
        labels = torch.randint(0, COLOURS, (ROWS, SIDE, SIDE), generator=g)
        targets = labels if pixels else torch.rand(len(labels) * LENGTH, WORDS, generator=g).softmax(dim=1)
        return mw.Batch((torch.randn(inputs, generator=g),), targets, torch.arange(inputs[0]))

    student = mw.Student(module, PixelCrossEntropy() if pixels else soft_cross_entropy)
    live = mw.Reweighter(
        student,
        build_teacher("mw-net", student.spec(batch_of(0))),
        optimizer=torch.optim.SGD(module.parameters(), lr=0.01),
        engine=engine,
        schedule=schedule,
    )
    for seed in range(4):
        live.step(batch_of(2 * seed), batch_of(2 * seed + 1))
    train, meta = batch_of(98), batch_of(99)
    copy = 4 * ROWS * (COLOURS * SIDE**2 if pixels else LENGTH * WORDS)
    apart = [*module.parameters(), train.targets, meta.targets]
    with LiveBytes(held=[], apart=apart, least=copy // 2) as counted:
        live.step(train, meta)
    assert 2 < counted.peak / copy <= (OF_PLACES if pixels else OF_SHARES)[engine]
