"""Engines side by side on the clock: which is taken first, and who is left out for what."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from clocks import clock
from students import make

import metaweight as mw
from metaweight.engines import EngineError, measured
from metaweight.engines.abilities import Abilities
from metaweight.engines.base import Problem, Solution
from metaweight.engines.double import DoubleBackward
from metaweight.engines.forward import ForwardMode
from metaweight.engines.ghost import Ghost
from metaweight.engines.measured import ALIKE, MOST, ROUNDS, Cost, compared, ranked
from metaweight.engines.one_step import joined_gradients


def refuse_to_answer(_state: mw.StudentState) -> torch.Tensor:
    raise AssertionError("the teacher is asked")


def problem(student: str = "words-dropout", **options: object) -> Problem:
    built, own, train, meta = make(student, "momentum")
    return Problem(built, own, (train,), meta, refuse_to_answer, **options)  # type: ignore[arg-type]


class Off(DoubleBackward):
    """Slopes that are off by a part of ``share``; what is approximate is not held against reverse mode."""

    abilities = Abilities(exact=False)

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def solve(self, problem: Problem) -> Solution:
        found = super().solve(problem)
        return replace(found, slopes=tuple(s * (1 + self.share) for s in found.slopes), direction=None)


class Fails(DoubleBackward):
    """Raises in the call of this number, from 1, and in all later ones."""

    def __init__(self, error: Exception, call: int = 1, cause: Exception | None = None) -> None:
        super().__init__()
        self.error, self.call, self.cause, self.calls = error, call, cause, 0

    def solve(self, problem: Problem) -> Solution:
        self.calls += 1
        if self.calls >= self.call:
            raise self.error from self.cause
        return super().solve(problem)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more rounds than there must be."""
    monkeypatch.setattr(measured, "ENOUGH", 0.0)


class Slow(DoubleBackward):
    """Sleeps for so many seconds in each pass."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def solve(self, problem: Problem) -> Solution:
        time.sleep(self.seconds)
        return super().solve(problem)


def test_the_fastest_is_first_and_the_others_follow_by_their_time(short: None) -> None:
    found = compared({"a": Slow(0.2), "b": Slow(0.1), "c": Slow(0)}, problem())
    assert list(found.costs) == ["c", "b", "a"]
    assert not found.refused
    seconds = {name: cost.seconds for name, cost in found.costs.items()}
    assert seconds["c"] < 0.1 <= seconds["b"] < 0.2 <= seconds["a"]
    assert {cost.memory for cost in found.costs.values()} == {None}  # a CPU counts none


def test_they_take_turns_and_who_is_hopelessly_slower_soon_takes_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes = clock(monkeypatch, {"Ghost": 302, "DoubleBackward": 200, "ForwardMode": 298})
    found = compared({"a": Ghost(), "b": DoubleBackward(), "c": ForwardMode()}, problem())
    three = ["Ghost", "DoubleBackward", "ForwardMode"]  # to warm up, then forth and back
    assert passes[:9] == [*three, *three, *three[::-1]]
    assert passes[9:] == ["DoubleBackward", "ForwardMode"]  # a second is over
    assert found.rounds == ROUNDS
    assert found.costs == {"b": Cost(0.2), "c": Cost(0.298), "a": Cost(0.302)}


def test_quick_ones_take_more_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = clock(monkeypatch, {"Ghost": 10, "DoubleBackward": 12})
    assert compared({"a": Ghost(), "b": DoubleBackward()}, problem()).rounds == MOST
    assert len(passes) == 2 * (1 + MOST)


def test_the_best_round_of_each_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other work on the machine makes passes longer, never shorter; the first round says nothing yet."""
    times = {"Ghost": [1, 300, 700, 250, 255], "DoubleBackward": [900, 900, 200, 900, 205]}
    clock(monkeypatch, times)
    found = compared({"a": Ghost(), "b": DoubleBackward()}, problem())
    assert found.rounds == 4  # until each has its best time twice
    assert found.costs == {"b": Cost(0.2), "a": Cost(0.25)}
    assert list(found.costs) == ["b", "a"]


def test_of_the_alike_that_with_least_memory_else_the_first() -> None:
    near = {"a": Cost(1.0 * ALIKE - 1e-9), "b": Cost(1.0), "c": Cost(1.0 * ALIKE + 1e-9)}
    assert list(ranked(near)) == ["a", "b", "c"]
    known = {"a": Cost(1.0, 300), "b": Cost(1.01, 200), "c": Cost(1.02, 200), "d": Cost(2.0, 1)}
    assert list(ranked(known)) == ["b", "a", "c", "d"]
    assert list(ranked({"c": Cost(3.0), "a": Cost(1.0), "b": Cost(2.0)})) == ["a", "b", "c"]
    assert list(ranked({"a": Cost(math.nan)})) == ["a"]


@pytest.mark.parametrize("check_every", [0, 100])
def test_who_does_not_agree_with_the_first_is_left_out(check_every: int, short: None) -> None:
    engines = {"a": Ghost(), "b": Off(1e-9), "c": Off(1e-3), "d": Off(math.nan)}
    found = compared(engines, problem(check_every=check_every))
    assert set(found.costs) == {"a", "b"}
    assert found.refused["c"] == "its slopes are 1.0e-03 off those of Ghost"
    assert "nan off" in found.refused["d"]


def test_digits_decide_who_agrees(short: None) -> None:
    """In float32 the first one's rounding is larger; in float64 nobody else would be left."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    own = torch.optim.SGD(module.parameters(), lr=0.1)
    train, meta = (mw.Batch((torch.randn(n, 5),), torch.arange(n) % 3, torch.arange(n)) for n in (6, 4))
    for dtype, alike in (
        (torch.float32, {"a", "b"}),
        (torch.float64, {"a"}),
        (torch.bfloat16, {"a", "b", "c"}),
    ):
        student = mw.Student(module.double() if dtype == torch.float64 else module.float())
        if dtype == torch.bfloat16:
            student = mw.Student(module, execution=mw.Execution(precision="bf16"))
        cast = [mw.Batch((b.args[0].to(module[0].weight.dtype),), b.targets, b.index) for b in (train, meta)]
        given = Problem(student, own, (cast[0],), cast[1], refuse_to_answer)
        found = compared({"a": DoubleBackward(), "b": Off(1e-3), "c": Off(0.05)}, given)
        assert set(found.costs) == alike


@pytest.mark.parametrize("call", [1, 2, 3])
def test_who_cannot_or_runs_out_of_memory_is_left_out(call: int, short: None) -> None:
    short = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")
    engines = {
        "a": Fails(EngineError("no way"), call),
        "b": Fails(short, call),
        "c": Fails(EngineError("no place"), call, cause=short),
        "d": Ghost(),
    }
    found = compared(engines, problem())
    assert list(found.costs) == ["d"]
    assert found.refused == {
        "a": "no way",
        "b": "out of memory (CUDA out of memory. Tried to allocate 2 GiB.)",
        "c": "out of memory (CUDA out of memory. Tried to allocate 2 GiB.)",
    }
    assert (found.rounds == 0) == (call < 3)
    assert math.isnan(found.costs["d"].seconds) == (call < 3)


def test_where_all_fail_none_is_left() -> None:
    for call in (1, 2, 3):
        engines = {name: Fails(EngineError("no way"), call) for name in "ab"}
        found = compared(engines, problem())
        assert not found.costs
        assert set(found.refused) == {"a", "b"}


def test_other_errors_are_the_users_to_see() -> None:
    with pytest.raises(KeyError, match="mistake"):
        compared({"a": Ghost(), "b": Fails(KeyError("mistake"))}, problem())


def test_no_teacher_is_asked_and_nothing_is_moved(short: None) -> None:
    given = problem("words-dropout")
    module = given.student.module
    values = [*module.state_dict().values(), *(p.grad for p in module.parameters())]
    before = [value.clone() for value in values]
    state, python = torch.get_rng_state(), random.getstate()
    with torch.no_grad():
        compared({"a": Ghost(), "b": ForwardMode(), "c": DoubleBackward()}, given)
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python
    assert all(map(torch.equal, values, before))


@pytest.mark.parametrize(("again", "first"), [(True, "a"), (False, "b")])
def test_a_real_step_that_weighs_anew_counts(
    again: bool, first: str, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``ghost`` has the gradient at other weights without a backward; others take one."""

    def backward(*args: Any, **options: Any) -> Any:
        time.sleep(0.2)
        return joined_gradients(*args, **options)

    class Later(Ghost):
        def solve(self, problem: Problem) -> Solution:
            time.sleep(0.1)
            return super().solve(problem)

    monkeypatch.setattr(measured, "joined_gradients", backward)
    found = compared({"a": Later(), "b": DoubleBackward()}, problem(again=again))
    assert next(iter(found.costs)) == first


@pytest.mark.parametrize("again", [True, False])
def test_a_graph_is_kept_for_who_takes_another_backward_alone(
    again: bool, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the run: a graph that is spent on the way is less memory."""
    given, kept = problem(again=again), set()
    for kind in (Ghost, DoubleBackward):
        whole: Any = kind.solve

        def solve(self: Any, problem: Problem, whole: Any = whole) -> Solution:
            assert problem.recorded is not None
            kept.add((type(self), problem.recorded.keep_graph))
            return whole(self, problem)

        monkeypatch.setattr(kind, "solve", solve)
    monkeypatch.setattr(measured, "answer", lambda engine, problem: engine.solve(_recorded(engine, problem)))
    compared({"a": Ghost(), "b": DoubleBackward()}, given)
    assert kept == {(Ghost, False), *((DoubleBackward, keep) for keep in {False, again})}


def _recorded(engine: Any, problem: Problem) -> Problem:
    return replace(problem, recorded=engine.record(problem))


def test_a_recorded_pass_is_left_to_who_comes_next(short: None) -> None:
    built, own, train, meta = make("words-dropout", "momentum")
    engine = Ghost()
    given = Problem(built, own, (train,), meta, refuse_to_answer, again=True)
    recorded = engine.record(given)
    assert recorded is not None
    given = Problem(built, own, (train,), meta, refuse_to_answer, recorded=recorded, again=True)
    found = compared({"a": engine, "b": DoubleBackward(), "c": ForwardMode()}, given)
    assert set(found.costs) == {"a", "b", "c"}
    recorded.forward.loss.mean().backward()


@pytest.mark.gpu
def test_a_device_that_counts_memory_is_asked() -> None:
    torch.manual_seed(0)
    layers = torch.nn.Linear(64, 512), torch.nn.Tanh(), torch.nn.Linear(512, 8)
    module = torch.nn.Sequential(*layers).cuda()
    train, meta = (
        mw.Batch((torch.randn(n, 64).cuda(),), torch.arange(n).cuda() % 8, torch.arange(n)) for n in (32, 16)
    )
    own = torch.optim.SGD(module.parameters(), lr=0.1)
    given = Problem(mw.Student(module), own, (train,), meta, refuse_to_answer)
    found = compared({"a": Ghost(), "b": DoubleBackward(), "c": ForwardMode()}, given)
    parameters = sum(p.numel() * p.element_size() for p in module.parameters())
    assert len(found.costs) == 3
    assert all(cost.memory is not None and cost.memory > parameters for cost in found.costs.values())
