"""Buffers that grow: in every schedule, and put back after a NaN."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import metaweight as mw
from metaweight.student.buffers import put_buffers


class Cache(nn.Module):
    """A table of positions, not saved, that grows with the longest input; a count that is saved."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(0, 4).double(), persistent=False)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self.words, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        if length > len(self.table):
            self.table = torch.sin(torch.arange(length)[:, None] * torch.arange(1, 5) / 3).double()
        self.passes += 1
        return self.head(torch.tanh(self.words(ids) + self.table[:length]).mean(1))


def batch(length: int, seed: int) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 9, (6, length), generator=g)
    return mw.Batch((ids,), torch.randint(0, 3, (6,), generator=g), torch.arange(6))


def made(**options: object) -> mw.Reweighter:
    torch.manual_seed(0)
    module = Cache().double()
    student = mw.Student(module)
    teacher = mw.build_teacher("mw-net", spec=student.spec(batch(3, 0)))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    return mw.Reweighter(student, teacher, optimizer=optimizer, **options)


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
@pytest.mark.parametrize("engine", ["reverse", "higher"])
def test_windows_go_on_with_what_has_grown(engine: str, schedule: str) -> None:
    reweighter = made(engine=engine, unroll=2, schedule=schedule)
    module = reweighter.student.module
    for lengths in ((4, 5), (2, 3)):
        reweighter.step([batch(n, n) for n in lengths], batch(6, 9))
    assert len(module.table) in (5, 6)
    expected = torch.sin(torch.arange(len(module.table))[:, None] * torch.arange(1, 5) / 3).double()
    assert torch.equal(module.table, expected)
    assert int(module.passes) == 4


def test_after_a_nan_the_buffers_are_those_of_the_last_good_step() -> None:
    reweighter = made()
    reweighter.step(batch(4, 1), batch(3, 2))
    module = reweighter.student.module
    before = {name: b.clone() for name, b in module.named_buffers()}
    with torch.no_grad():
        module.head.weight[0, 0] = float("nan")
    with pytest.raises(mw.NonFiniteError, match="train loss"):
        reweighter.step(batch(8, 3), batch(3, 2))
    after = dict(module.named_buffers())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [name for name in module.state_dict() if name in before] == ["passes"]


def test_a_shared_buffer_stays_shared_and_one_of_the_same_shape_is_filled_in_place() -> None:
    module = nn.Module()
    module.register_buffer("own", torch.zeros(3))
    module.inner = nn.Module()
    module.inner.register_buffer("shared", torch.zeros(2))
    module.register_buffer("also", module.inner.shared)
    values = {name: b.clone() + 1 for name, b in module.named_buffers()}
    own, twin = module.own, copy.deepcopy(module)
    put_buffers(module, values)
    assert module.own is own
    assert own.tolist() == [1.0] * 3
    module.inner.shared = module.also = torch.zeros(5)
    put_buffers(module, values)
    assert module.inner.shared is module.also
    assert module.also.tolist() == [1.0, 1.0]
    assert twin.own.tolist() == [0.0] * 3
