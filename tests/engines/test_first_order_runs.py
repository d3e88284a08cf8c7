"""Engine ``first-order`` in a Reweighter: resumed, for which teachers, and by ``auto``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from thin_students import batch, table
from torch import nn

import metaweight as mw
from metaweight.engines import build_engine
from metaweight.engines.ghost import FirstOrder


def reweighter(engine: Any, teacher: str = "mlp", **options: Any) -> mw.Reweighter:
    torch.manual_seed(0)
    module = table().double()
    student = mw.Student(module, taps=("1",))
    built = mw.build_teacher(teacher, spec=student.spec(batch("table", 4, 0), samples=20)).double()
    steps = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    return mw.Reweighter(student, built, optimizer=steps, engine=engine, **options)


@pytest.mark.parametrize("schedule", ["online", "lookahead"])
@pytest.mark.parametrize("name", ["first-order", "auto"])
def test_a_resumed_run_goes_on_to_the_bit(name: str, schedule: str, always: None) -> None:
    def engine() -> Any:
        if name == "auto":
            return build_engine("auto", cost="cheap")
        return build_engine("first-order", rank=2, refresh=3)

    whole = reweighter(engine(), schedule=schedule)
    part = reweighter(engine(), schedule=schedule)
    states = []
    for number in range(6):
        train, meta = batch("table", 6, number), batch("table", 4, number + 50)
        whole.step(train, meta)
        if number == 4:  # one batch behind the new direction
            rest = reweighter(engine(), schedule=schedule)
            rest.load_state_dict(part.state_dict())
            part = rest
        part.step(train, meta)
        states.append(torch.equal(whole.student.module[0].weight, part.student.module[0].weight))
    assert all(states)


def test_what_auto_has_measured_goes_on_too() -> None:
    first, second = (reweighter(build_engine("auto", cost="cheap")) for _ in range(2))
    first.step(batch("table", 6, 0), batch("table", 4, 1))
    state = first.state_dict()["engine"]["first-order"]
    assert state["batches"] >= 1  # auto tried it on the batch first
    assert len(state["cosines"]) == 1
    assert state["direction"] is None  # of the parameters' size, and made anew in each batch
    second.load_state_dict(first.state_dict())
    assert second.state_dict()["engine"] == first.state_dict()["engine"]


def test_a_state_of_before_is_taken() -> None:
    run = reweighter("first-order")
    state = run.state_dict()
    del state["engine"]
    run.load_state_dict(state)
    assert reweighter("ghost").state_dict()["engine"] == {}


@pytest.mark.parametrize("teacher", ["l2rw", "recall", "jury"])
def test_teachers_that_read_single_slopes_are_refused(teacher: str) -> None:
    for engine in (FirstOrder(), FirstOrder(None, refresh=2), build_engine("auto", cost="cheap")):
        with pytest.raises(ValueError, match=rf"{teacher!r} reads the hypergradient .* of which engine"):
            reweighter(engine, teacher)
    run = reweighter(FirstOrder(None), teacher)
    run.step(batch("table", 6, 0), batch("table", 4, 1))
    assert reweighter(FirstOrder(), "memory").engine.coarse == "engine 'first-order' with rank=16"


@pytest.mark.parametrize(("options", "said"), [({"rank": 0}, "rank is 1"), ({"refresh": 0}, "refresh is 1")])
def test_numbers_that_make_no_sense(options: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FirstOrder(**options)  # type: ignore[arg-type]


def test_auto_takes_it_when_asked_and_where_it_can() -> None:
    run = reweighter(build_engine("auto", cost="cheap"))
    run.step(batch("table", 6, 0), batch("table", 4, 1))
    assert run.engine.choice.startswith("first-order: cost='cheap'")
    exact = reweighter("auto")
    exact.step(batch("table", 6, 0), batch("table", 4, 1))
    assert exact.engine.choice.startswith("ghost")
    with pytest.raises(ValueError, match="cost is 'exact', 'cheap' or 'measured', got 'free'"):
        build_engine("auto", cost="free")


def test_with_auto_a_norm_over_the_batch_is_exact_whatever_the_cost() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(7, 8), nn.BatchNorm1d(8), nn.Linear(8, 11)).double()
    student = mw.Student(module)
    teacher = mw.build_teacher("mw-net", spec=student.spec(batch("table", 4, 0))).double()
    steps = torch.optim.SGD(module.parameters(), lr=0.05)
    engine = build_engine("auto", cost="cheap")
    run = mw.Reweighter(student, teacher, optimizer=steps, engine=engine)
    run.step(batch("table", 6, 0), batch("table", 4, 1))
    assert run.engine.choice.startswith("forward")
