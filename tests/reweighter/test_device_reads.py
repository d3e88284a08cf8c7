"""How often an iteration waits for the device, counted without one."""

from __future__ import annotations

import warnings

import pytest
import torch
from slowly import covering
from torch import Tensor, nn

import metaweight as mw
from benchmarks.speed.device_reads import DeviceReads
from metaweight.core.reads import Numbers, doubt, read, settle, together
from metaweight.engines.verification import Verification

SETTLED = "tolist at core/reads.py"
REMEMBERED = "nonzero at teachers/trusted.py"


def batch(seed: int, units: int = 12) -> mw.Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(units, 6, generator=generator)
    labels = torch.randint(0, 3, (units,), generator=generator)
    return mw.Batch((x,), labels, torch.arange(units) + units * (seed % 4))


def build(teacher: str = "mlp", optimizer: str = "SGD", **options: object) -> mw.Reweighter:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    student = mw.Student(module, taps=("1",))
    steps = getattr(torch.optim, optimizer)(module.parameters(), lr=0.05)
    built = mw.build_teacher(teacher, spec=student.spec(batch(0), samples=48))
    return mw.Reweighter(student, built, optimizer=steps, **options)  # type: ignore[arg-type]


def reads_of(reweighter: mw.Reweighter, *, weigh: bool = False, teach: bool = True) -> list[str]:
    """What the seventh iteration waits for: no check of the engine is due there."""
    call = reweighter.weigh if weigh else reweighter.step
    for number in range(6):
        call(batch(number), batch(100 + number), teach=teach)
    train, meta = batch(6), batch(106)
    with DeviceReads(counts_of(reweighter)) as counted:
        call(train, meta, teach=teach)
    return [one.partition(":")[0] for one in counted.reads]


def counts_of(reweighter: mw.Reweighter) -> list[Tensor]:
    """Optimizers' counts of steps, which torch keeps on the CPU."""
    optimizers = (reweighter.live.optimizer, reweighter.teacher_optimizer)
    states = [state for one in optimizers if one is not None for state in one.state.values()]
    return [state["step"] for state in states if "step" in state]


@pytest.mark.parametrize(
    ("schedule", "engine", "teacher", "check_every"),
    covering(
        ["lookahead", "online"],
        ["forward", "ghost", "double"],
        ["mlp", "mw-net", "memory", "jury"],
        [0, 100],
        pairs=True,
    ),
)
def test_an_iteration_waits_once_before_each_change(
    schedule: str, engine: str, teacher: str, check_every: int
) -> None:
    """Before the teacher's step, and with ``lookahead`` before the student's, for its weights are new."""
    found = reads_of(build(teacher, engine=engine, schedule=schedule, check_every=check_every))
    expected = [SETTLED, SETTLED] if schedule == "lookahead" else [SETTLED]
    assert sorted(found) == sorted([*expected, *([REMEMBERED] if teacher in ("memory", "jury") else [])])


@pytest.mark.parametrize(
    ("options", "waits"),
    [
        ({"optimizer": "AdamW"}, 2),
        ({"center": "class", "max_norm": 0.5}, 2),
        ({"schedule": "online", "scope": ["2"]}, 1),
        ({"teacher": "class-balanced"}, 1),
        ({"teacher": "l2rw"}, 2),
        ({"teacher": "recall"}, 2),
    ],
)
def test_options_add_no_wait(options: dict[str, object], waits: int) -> None:
    assert reads_of(build(**options, check_every=0)) == [SETTLED] * waits  # type: ignore[arg-type]


def test_nor_does_a_loop_of_ones_own_and_a_warm_up() -> None:
    assert reads_of(build(schedule="online", check_every=0), weigh=True) == [SETTLED]
    assert reads_of(build(), teach=False) == [SETTLED]


def test_the_numbers_of_a_report_come_with_the_next_iteration() -> None:
    reweighter = build(engine="ghost", schedule="online")
    first = reweighter.step(batch(0), batch(100))
    reweighter.step(batch(1), batch(101))
    with DeviceReads() as counted:
        numbers = [first.train_loss, first.meta_loss, *first.stats.values()]
    assert not counted.reads
    assert all(isinstance(number, float) for number in numbers)
    assert set(first.stats) == {"slope_norm", "slope_mean", "weight_mean", "weight_spread", "ess", "size"}
    last = reweighter.last
    assert last is not None
    with DeviceReads() as counted:
        assert last.stats["weight_mean"] == pytest.approx(float(last.weights.double().mean()), rel=1e-12)
        assert last.train_loss > 0
    assert counted.reads.count("tolist at core/reads.py") <= 1
    assert sum(one.startswith(SETTLED) for one in counted.reads) == 1


def test_the_first_doubt_that_is_right_raises_and_gives_way_to_none() -> None:
    said: list[str] = []

    def fail(name: str) -> None:
        said.append(name)
        raise ValueError(name)

    def iteration() -> None:
        with together():
            doubt(torch.tensor(False), lambda: fail("first"))
            with together():
                doubt(torch.tensor(True), lambda: fail("second"))
                doubt(torch.tensor(True), lambda: fail("third"))
                raise KeyError("what is NaN makes others fail")

    with pytest.raises(ValueError, match="second"):
        iteration()
    assert said == ["second"]
    with together():
        doubt(torch.tensor(True), lambda: said.append("looked again"))
        settle()
    assert said[-1] == "looked again"
    with pytest.raises(ValueError, match="alone"):
        doubt(torch.tensor(True), lambda: fail("alone"))


def test_numbers_are_read_together_and_keep_every_digit() -> None:
    numbers = Numbers({"a": torch.tensor(0.1), "b": torch.tensor(0.1, dtype=torch.float64), "c": 3.0})
    shown = Numbers(numbers, ["b"])
    with DeviceReads() as counted:
        assert read([numbers], [torch.tensor(True), torch.tensor(False)]) == [1.0, 0.0]
    assert len(counted.reads) == 1
    with DeviceReads() as counted:
        assert shown == {"b": 0.1}
    assert not counted.reads
    assert dict(numbers) == {"a": float(torch.tensor(0.1)), "b": 0.1, "c": 3.0}
    with pytest.raises(KeyError):
        shown["a"]


def test_a_label_that_is_none_is_said_and_nothing_has_changed() -> None:
    reweighter = build(engine="ghost")
    reweighter.step(batch(0), batch(100))
    values = [*reweighter.student.module.state_dict().values(), *reweighter.teacher.state_dict().values()]
    before = [value.clone() for value in values]
    good = batch(1)
    for label in (7, -1):
        targets = good.targets.clone()
        targets[4] = label
        with pytest.raises(ValueError, match=rf"labels run from 0 to 2, got {label} at position 4"):
            reweighter.step(mw.Batch(good.inputs, targets, good.index), batch(101))
    assert all(torch.equal(a, b) for a, b in zip(values, before, strict=True))


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_a_teacher_that_fails_on_nan_does_not_hide_it(schedule: str) -> None:
    class Strict(mw.Teacher):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(()))

        def forward(self, state: mw.StudentState) -> Tensor:
            if bool(state.loss.isnan().any()):
                raise RuntimeError("the teacher fails first")
            return self.factor * torch.ones_like(state.loss)

    module = nn.Sequential(nn.Linear(6, 3))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    reweighter = mw.Reweighter(mw.Student(module), Strict(), optimizer=optimizer, schedule=schedule)
    reweighter.step(batch(0), batch(100))
    bad = batch(1)
    bad.inputs[0][3] = float("nan")
    with pytest.raises(mw.NonFiniteError, match=r"train loss of 1 of 12 samples.*index 15"):
        reweighter.step(bad, batch(101))


def test_a_collapse_is_said_when_its_numbers_are_there() -> None:
    reweighter = build("mw-net", engine="ghost")
    reweighter._collapse.__init__(patience=2, spread=1.0)  # type: ignore[misc]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(4):
            reweighter.step(batch(number), batch(100 + number))
    with pytest.warns(mw.CollapseWarning) as caught:
        state = reweighter.state_dict()
    assert state["collapse"]["seen"] == 4
    assert len(caught) == 1


class Spoilt(mw.Teacher):
    """Gives NaN once it has learnt, or from the first on."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self.factor, self.good = nn.Parameter(torch.ones(())), good

    def forward(self, state: mw.StudentState) -> Tensor:
        self.good -= 1
        return self.factor * torch.full_like(state.loss, 1.0 if self.good >= 0 else float("nan"))


@pytest.mark.parametrize(
    ("good", "options"), [(1, {}), (0, {}), (0, {"schedule": "online"}), (0, {"every": 2})]
)
def test_weights_of_nan_move_no_student(good: int, options: dict[str, object]) -> None:
    """At ``good=1`` those after the teacher's step; with ``every`` those of a plain step, in between."""
    module = nn.Linear(6, 3)
    teacher, optimizer = Spoilt(1000), torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    reweighter = mw.Reweighter(mw.Student(module), teacher, optimizer=optimizer, engine="ghost", **options)  # type: ignore[arg-type]
    reweighter.step(batch(0), batch(100))
    teacher.good = good
    before = [value.clone() for value in module.state_dict().values()]
    with pytest.raises(mw.NonFiniteError, match="weight of 12 of 12 samples"):
        reweighter.step(batch(1), batch(101))
    assert all(torch.equal(a, b) for a, b in zip(module.state_dict().values(), before, strict=True))
    assert reweighter.steps == 1


def test_a_trusted_batch_of_nan_is_not_remembered() -> None:
    reweighter = build("knn")
    reweighter.step(batch(0), batch(100))
    before = [value.clone() for value in reweighter.teacher.state_dict().values()]
    meta = batch(101)
    meta.inputs[0][2] = float("inf")
    with pytest.raises(mw.NonFiniteError, match="meta loss of 1 of 12"):
        reweighter.step(batch(1), meta)
    after = reweighter.teacher.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_no_engine_is_held_against_what_is_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[object] = []
    monkeypatch.setattr(Verification, "require", lambda self, *given, **more: held.append(given))
    reweighter = build(engine="ghost")
    bad = batch(0)
    bad.inputs[0][1] = float("nan")
    with pytest.raises(mw.NonFiniteError, match="train loss of 1 of 12"):
        reweighter.step(bad, batch(100))
    assert not held
    reweighter.step(batch(1), batch(101))
    assert held
