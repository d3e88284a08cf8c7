"""``auto`` by the clock: the run is that of the engine it takes, from the first batch on and when resumed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from clocks import clock
from slowly import covering
from students import batch, make
from torch import Tensor, nn

import metaweight as mw
from metaweight.engines import auto, build_engine
from metaweight.engines.candidates import Choice
from metaweight.engines.double import DoubleBackward
from metaweight.engines.forward import ForwardMode
from metaweight.engines.ghost import Ghost
from metaweight.engines.measured import Comparison, Cost, compared
from metaweight.engines.rankings import Rankings
from metaweight.training import checkpoint

TIMES: dict[str, tuple[int, dict[str, float]]] = {
    "ghost": (1, {"Ghost": 10, "DoubleBackward": 20, "ForwardMode": 30}),
    "double": (1, {"Ghost": 30, "DoubleBackward": 10, "ForwardMode": 20}),
    "forward": (1, {"Ghost": 20, "DoubleBackward": 30, "ForwardMode": 10}),
    "reverse": (3, {"Reverse momentum": 10, "Reverse snapshots": 20}),
    "reverse replay=snapshots": (3, {"Reverse momentum": 20, "Reverse snapshots": 10}),
}
"""The fastest -> inner steps, and milliseconds."""


def named(choice: str) -> Any:
    name, _, option = choice.partition(" ")
    return build_engine(name, **dict(pair.split("=") for pair in option.split()))


def reweighter(engine: Any, student: str, teacher: str, **options: Any) -> mw.Reweighter:
    built, own, train, _ = make(student, "momentum")
    torch.manual_seed(3)
    weigher = mw.build_teacher(teacher, spec=built.spec(train, samples=3000))
    learned = [p for p in weigher.parameters() if p.requires_grad]
    learner = torch.optim.SGD(learned, lr=0.5) if learned else None
    return mw.Reweighter(built, weigher, optimizer=own, teacher_optimizer=learner, engine=engine, **options)


def steps(run: mw.Reweighter, numbers: range, unroll: int) -> list[Tensor]:
    """What each iteration reports and leaves."""
    seen = []
    for number in numbers:
        train = [batch((3, 8), 6, unroll * number + k) for k in range(unroll)]
        report = run.step(train if unroll > 1 else train[0], batch((3, 8), 5, 900 + number))
        live = [*run.student.module.state_dict().values(), *run.teacher.state_dict().values()]
        state = [v for s in run.live.optimizer.state_dict()["state"].values() for v in s.values()]
        seen += [report.weights, report.losses, *(value.clone() for value in [*live, *state])]
    return [*seen, torch.get_rng_state()]


@pytest.mark.parametrize(
    ("choice", "teacher", "student", "schedule"),
    covering(
        [(choice, "mw-net", "words-dropout") for choice in TIMES]
        + [("double", "memory", "words-dropout"), ("reverse replay=snapshots", "memory", "words-dropout")]
        + [(choice, "mw-net", "encoder-dropout") for choice in ("ghost", "forward")],
        ["lookahead", "online"],
    ),
)
def test_the_run_is_that_of_the_engine_it_takes_to_the_bit(
    choice: str, teacher: str, student: str, schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unroll, times = TIMES[choice]
    clock(monkeypatch, times)
    ends = []
    for engine in (named(choice), build_engine("auto", cost="measured")):
        run = reweighter(engine, student, teacher, schedule=schedule, unroll=unroll)
        torch.manual_seed(7)
        ends.append(steps(run, range(3), unroll))
    assert run.engine.choice.startswith(f"{choice.split()[0]}: 10 ms, ")
    assert len(ends[0]) == len(ends[1])
    assert all(map(torch.equal, *ends))


@pytest.mark.parametrize("teacher", ["l2rw", "recall", "jury"])
def test_so_it_is_for_teachers_that_read_single_slopes(teacher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, TIMES["forward"][1])
    ends = []
    for engine in ("forward", build_engine("auto", cost="measured")):
        run = reweighter(engine, "words-dropout", teacher)
        torch.manual_seed(7)
        ends.append(steps(run, range(3), 1))
    assert all(map(torch.equal, *ends))


def test_the_loop_of_ones_own_goes_on_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, TIMES["double"][1])
    ends = []
    for engine in ("double", build_engine("auto", cost="measured")):
        run = reweighter(engine, "words-dropout", "mw-net")
        torch.manual_seed(7)
        given = [run.weigh(batch((3, 8), 6, n), batch((3, 8), 5, 900 + n)) for n in range(3)]
        ends.append([*given, *run.teacher.state_dict().values(), torch.get_rng_state()])
    assert all(map(torch.equal, *ends))


def test_a_teacher_that_draws_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it draws, and what the passes behind it draw, is as with the engine that is named."""
    clock(monkeypatch, TIMES["double"][1])
    found, calls = [], []
    w = torch.ones(6, dtype=torch.float64, requires_grad=True)

    def weigh(state: mw.StudentState) -> Tensor:
        calls.append(state)
        return w * torch.rand(6, dtype=torch.float64)

    for engine in ("double", build_engine("auto", cost="measured")):
        problem = make("words-dropout", "momentum")
        torch.manual_seed(1)
        found.append(mw.hypergradient(*problem, weigh, [w], engine))
    assert len(calls) == 2
    assert torch.equal(found[0].grads[0], found[1].grads[0])
    assert torch.equal(found[0].meta_loss, found[1].meta_loss)


def test_what_was_measured_is_said_and_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, {"Ghost": 12.14, "DoubleBackward": 11.5, "ForwardMode": 8})
    engine = build_engine("auto", cost="measured")
    run = reweighter(engine, "words-dropout", "mw-net")
    steps(run, range(1), 1)
    assert engine.choice == "forward: 8 ms, double 11.5 ms, ghost 12.1 ms (of 20 rounds)"
    assert engine.chosen == "forward"
    monkeypatch.setattr(auto, "compared", None)
    steps(run, range(1, 3), 1)
    assert engine.choice == "forward: 8 ms, double 11.5 ms, ghost 12.1 ms (of 20 rounds)"


@pytest.mark.parametrize(("way", "again"), [("lookahead", True), ("online", False), ("weigh", False)])
def test_what_the_real_step_takes_of_the_engine_counts(
    way: str, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``lookahead`` weighs the train pass anew; ``online`` has its gradient, and ``weigh`` takes no step."""
    given = []
    monkeypatch.setattr(
        auto, "compared", lambda engines, problem: (given.append(problem), compared(engines, problem))[1]
    )
    schedule = "online" if way == "online" else "lookahead"
    run = reweighter(build_engine("auto", cost="measured"), "words", "mw-net", schedule=schedule)
    take = run.weigh if way == "weigh" else run.step
    take(batch((3, 8), 6, 1), batch((3, 8), 5, 2))
    assert [problem.again for problem in given] == [again]


def test_with_memory_both_are_said() -> None:
    candidates = [Choice("ghost", ""), Choice("reverse", "", (("replay", "snapshots"),))]
    found = Comparison(
        dict(zip(candidates, [Cost(0.01, 2_100_000), Cost(0.02, 3_000_000)], strict=True)), {}, 3
    )
    rankings = Rankings()
    rankings.add(candidates, found)
    assert rankings.why(candidates) == "10 ms and 2 MB, reverse replay=snapshots 20 ms and 3 MB (of 3 rounds)"


def test_training_and_evaluation_mode_are_measured_each(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = nn.Flatten(), nn.Linear(24, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)
    module = nn.Sequential(*layers).double()
    clock(monkeypatch, TIMES["double"][1])
    student, own = mw.Student(module), torch.optim.SGD(module.parameters(), lr=0.1)
    engine, w = build_engine("auto", cost="measured"), torch.ones(6, dtype=torch.float64, requires_grad=True)
    said = []
    for training in (True, False, True):
        module.train(training)
        mw.hypergradient(student, own, batch((3, 8), 6, 1), batch((3, 8), 5, 2), lambda _s: w, [w], engine)
        said.append(engine.choice)
    assert [("ghost" in one, one.startswith("double: ")) for one in said] == [
        (False, True),
        (True, True),
        (False, True),
    ]
    assert said[0] == said[2]


@pytest.mark.parametrize(("choice", "schedule"), [("double", "lookahead"), ("forward", "online")])
def test_a_resumed_run_takes_the_same_without_measuring(
    choice: str, schedule: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fresh() -> mw.Reweighter:
        return reweighter(build_engine("auto", cost="measured"), "words-dropout", "memory", schedule=schedule)

    clock(monkeypatch, TIMES[choice][1])
    whole = fresh()
    torch.manual_seed(7)
    steps(whole, range(2), 1)
    checkpoint.save(tmp_path / "state.pt", whole.state_dict(), {})
    random = torch.get_rng_state()
    there = steps(whole, range(2, 4), 1)
    monkeypatch.undo()  # the clock would say something else now
    monkeypatch.setattr(auto, "compared", None)
    rest = fresh()
    rest.load_state_dict(checkpoint.load(tmp_path / "state.pt", {}))
    torch.set_rng_state(random)
    here = steps(rest, range(2, 4), 1)
    assert all(map(torch.equal, here, there))
    assert rest.engine.choice == whole.engine.choice
    assert rest.state_dict()["engine"] == whole.state_dict()["engine"]


def test_a_state_that_was_not_measured_is_taken_and_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, TIMES["forward"][1])
    run, exact = (reweighter(build_engine("auto", cost=c), "words", "mw-net") for c in ("measured", "exact"))
    cheap = build_engine("auto", cost="cheap")
    another = reweighter(cheap, "words", "mlp")
    steps(another, range(1), 1)
    old = cheap.state_dict(another.student.module)
    assert "first-order" in old
    for state in ({}, old):
        steps(run, range(1), 1)
        assert "auto" in run.state_dict()["engine"]
        run.engine.load_state_dict(run.student.module, state)
        assert "auto" not in run.state_dict()["engine"]
    steps(run, range(1), 1)
    assert "auto" in run.state_dict()["engine"]
    # and one that was is no concern of a run that goes by the layers
    exact.load_state_dict(run.state_dict())
    steps(exact, range(1), 1)
    assert exact.engine.choice.startswith("ghost: no layer")
    assert "auto" not in exact.state_dict()["engine"]


class Later(nn.Module):
    """Couples its samples once ``coupled`` is set, which is wrong in ``ghost`` alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head, self.coupled = nn.Linear(8, 8), nn.Linear(8, 3), False

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x[:, 0]))
        return self.head(torch.tanh(x - x.mean(0)) if self.coupled else x)


@pytest.mark.parametrize("resumed", [False, True])
def test_in_mid_run_the_next_best_goes_on(resumed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # by the layers ``double`` would be the next
    clock(monkeypatch, {"Ghost": 10, "DoubleBackward": 30, "ForwardMode": 20})

    def fresh() -> tuple[mw.Reweighter, Later]:
        torch.manual_seed(0)
        module = Later().double()
        student = mw.Student(module)
        teacher = mw.build_teacher("mw-net", spec=student.spec(batch((3, 8), 6, 1)))
        own = torch.optim.SGD(module.parameters(), lr=0.2)
        engine = build_engine("auto", cost="measured")
        return mw.Reweighter(student, teacher, optimizer=own, engine=engine), module

    run, module = fresh()
    steps(run, range(2), 1)
    assert run.engine.choice.startswith("ghost: ")
    monkeypatch.setattr(auto, "compared", None)
    if resumed:
        state = run.state_dict()
        run, module = fresh()
        run.load_state_dict(state)
    module.coupled = True
    steps(run, range(2, 4), 1)
    assert re.match(
        r"forward: 20 ms, double 30 ms \(of \d+ rounds\); not ghost: .*couples", run.engine.choice
    )
    (one,) = run.state_dict()["engine"]["auto"]["measured"]
    assert [name for name, *_ in one["costs"]] == ["forward", "double"]


def test_where_no_other_can_higher_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Ghost, DoubleBackward, ForwardMode):
        monkeypatch.setattr(kind, "solve", _refuse)
    run = reweighter(build_engine("auto", cost="measured"), "words", "mw-net")
    steps(run, range(2), 1)
    reasons = "not ghost: no way; not double: no way; not forward: no way"
    assert run.engine.choice == f"higher: any student; {reasons}"


def test_who_is_left_alone_is_not_timed_and_a_resumed_run_knows_why(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [reweighter(build_engine("auto", cost="measured"), "gru", "mw-net") for _ in range(2)]
    for kind in (Ghost, DoubleBackward):
        monkeypatch.setattr(kind, "solve", _short)
    steps(runs[0], range(2), 1)
    reasons = [f"not {name}: out of memory (CUDA out of memory)" for name in ("ghost", "double")]
    said = "; ".join(["forward: no other exact engine was left to be timed against", *reasons])
    assert runs[0].engine.choice == said
    runs[1].load_state_dict(runs[0].state_dict())
    monkeypatch.setattr(ForwardMode, "solve", _refuse)
    steps(runs[1], range(2, 4), 1)  # it does not ask for that memory again
    assert runs[1].engine.choice == "; ".join(["higher: any student", *reasons, "not forward: no way"])


def _refuse(*_: object) -> None:
    raise mw.engines.EngineError("no way")


def _short(*_: object) -> None:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory")
