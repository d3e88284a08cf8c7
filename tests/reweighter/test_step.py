"""One meta-iteration against plain loops and hand-written steps, bit for bit where it must be."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from step_parts import ByLoss
from students import SHAPE, STEP_ENGINES, STUDENTS, BatchNormResNet, Dropped, able_student, batch, engine_for
from torch import Tensor, nn

import metaweight as mw
from metaweight.reweighter import CollapseWatch
from metaweight.reweighter.teaching import ByParameters
from metaweight.testing.oracles import RealSteps


class Frozen(ByLoss):
    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)


def build(
    module: nn.Module,
    teacher: mw.Teacher,
    *,
    teacher_lr: float = 0.5,
    taps: tuple[str, ...] = (),
    **options: object,
) -> mw.Reweighter:
    learned = list(teacher.parameters())
    return mw.Reweighter(
        mw.Student(module, taps=taps),
        teacher,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01),
        teacher_optimizer=torch.optim.SGD(learned, lr=teacher_lr) if learned else None,
        **options,
    )


def everything(reweighter: mw.Reweighter) -> list[Tensor]:
    states = reweighter.optimizer.state.values()
    buffers = [s["momentum_buffer"] for s in states if s.get("momentum_buffer") is not None]
    return [*reweighter.student.module.state_dict().values(), *buffers, torch.get_rng_state()]


def run(reweighter: mw.Reweighter, steps: int = 4) -> list[mw.StepReport]:
    torch.manual_seed(11)
    return [reweighter.step(batch(SHAPE, 6, 10 + t), batch(SHAPE, 5, 60 + t)) for t in range(steps)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("max_norm", [None, 0.3])
def test_uniform_teacher_is_a_plain_loop_bit_for_bit(dtype: torch.dtype, max_norm: float | None) -> None:
    torch.manual_seed(0)
    module = Dropped().to(dtype)
    plain = copy.deepcopy(module)
    uniform = mw.build_teacher("uniform", mw.StateSpec({}, 3, dtype))
    reweighter = build(module, uniform, max_norm=max_norm)
    torch.manual_seed(11)
    for t in range(4):
        reweighter.step(batch(SHAPE, 6, 10 + t, dtype=dtype), batch(SHAPE, 5, 60 + t, dtype=dtype))
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    torch.manual_seed(11)
    for t in range(4):
        one = batch(SHAPE, 6, 10 + t, dtype=dtype)
        optimizer.zero_grad()
        F.cross_entropy(plain(*one.inputs), one.targets).backward()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(plain.parameters(), max_norm)
        optimizer.step()
    for a, b in zip(module.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(a, b)


SUMMED_OTHERWISE = {("ghost", "lookahead"), ("ghost", "online"), ("higher", "online")}
"""Who takes the real step on a gradient whose sums have another order."""


@pytest.mark.parametrize("engine", STEP_ENGINES)
@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_an_engine_with_teacher_lr_0_changes_nothing_bit_for_bit(engine: str, schedule: str) -> None:
    torch.manual_seed(0)
    module = Dropped(able_student(engine, "batchnorm-resnet", "groupnorm-resnet")).double()
    plain = build(copy.deepcopy(module), mw.build_teacher("uniform", mw.StateSpec({}, 3, torch.float64)))
    run(plain)
    expected = everything(plain)
    learned = build(module, ByLoss().double(), teacher_lr=0.0, engine=engine, schedule=schedule)
    run(learned)
    rtol, atol = (1e-11, 1e-14) if (engine, schedule) in SUMMED_OTHERWISE else (0, 0)
    for a, b in zip(everything(learned), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
@pytest.mark.parametrize("max_norm", [None, 0.2])
def test_step_equals_the_written_out_iteration(schedule: str, max_norm: float | None) -> None:
    """Teacher gradient by central differences of the real optimizer, then the steps by hand."""
    torch.manual_seed(0)
    module = BatchNormResNet().double()
    twin = copy.deepcopy(module)
    teacher = ByLoss().double()
    with torch.no_grad():
        teacher.score.weight.fill_(0.3)
    reweighter = build(module, teacher, engine="forward", schedule=schedule, max_norm=max_norm, center=False)
    train, meta = batch(SHAPE, 6, 1), batch(SHAPE, 5, 2)
    a, b = 0.3, float(teacher.score.bias.detach())

    student = mw.Student(twin)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    loss = student.functional(train, {}, student.buffers()).loss.detach()
    w = 2 * torch.sigmoid(a * loss + b)
    slope = RealSteps(student, optimizer, [train], meta, max_norm=max_norm).slopes([w])[0]
    inner = w * (1 - w / 2)  # derivative of 2 sigmoid
    a_new, b_new = a - 0.5 * float((slope * inner * loss).sum()), b - 0.5 * float((slope * inner).sum())
    used = 2 * torch.sigmoid(a_new * loss + b_new) if schedule == "lookahead" else w
    optimizer.zero_grad()
    (used * student(train).loss).mean().backward()
    if max_norm is not None:
        torch.nn.utils.clip_grad_norm_(twin.parameters(), max_norm)
    optimizer.step()

    report = reweighter.step(train, meta)
    torch.testing.assert_close(report.weights, used, rtol=1e-7, atol=0)
    assert float(teacher.score.weight.detach()) == pytest.approx(a_new, rel=1e-6)
    assert float(teacher.score.bias.detach()) == pytest.approx(b_new, rel=1e-6, abs=1e-9)
    for x, y in zip(module.state_dict().values(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-9)
    assert report.train_loss == pytest.approx(float(loss.mean()), rel=1e-12)


def test_l2rw_weights_are_the_positive_part_of_the_closed_form() -> None:
    """K = 1, SGD: -dL/dw_i is proportional to <grad meta(theta), grad loss_i(theta)>, Ren et al. (2018)."""
    torch.manual_seed(0)
    module = STUDENTS["groupnorm-resnet"][0]().double()
    student = mw.Student(module)
    train, meta = batch(SHAPE, 6, 1), batch(SHAPE, 5, 2)
    params = list(module.parameters())
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        v = torch.autograd.grad(student(meta).loss.mean(), params)
        rows = [torch.autograd.grad(loss, params, retain_graph=True) for loss in student(train).loss]
    dots = torch.stack([sum((a * b).sum() for a, b in zip(v, row, strict=True)) for row in rows])
    expected = dots.clamp(min=0)
    expected = expected / expected.sum() * 6
    for engine in STEP_ENGINES:
        own = copy.deepcopy(module)
        sgd = torch.optim.SGD(own.parameters(), lr=0.1)
        made = mw.Reweighter(
            mw.Student(own),
            mw.build_teacher("l2rw", mw.StateSpec({}, 3, torch.float64)),
            optimizer=sgd,
            engine=engine_for(engine, sgd),
        )
        torch.testing.assert_close(made.step(train, meta).weights, expected, rtol=1e-9, atol=1e-12)


def test_a_teacher_that_reads_the_hypergradient_is_asked_for_its_weights() -> None:
    class Helps(mw.Teacher):
        def __init__(self) -> None:
            super().__init__()

        def forward(self, state: mw.StudentState) -> Tensor:
            return torch.ones_like(state.loss)

        def from_hypergradient(self, hypergradient: Tensor) -> Tensor:
            return 2.0 * (hypergradient < 0)

    torch.manual_seed(0)
    (report,) = run(build(Dropped().double(), Helps()), 1)
    assert set(report.weights.tolist()) == {0.0, 2.0}


def test_every_n_updates_the_teacher_each_nth_iteration_and_weighs_each_time() -> None:
    torch.manual_seed(0)
    teacher = ByLoss().double()
    reweighter = build(BatchNormResNet().double(), teacher, engine="forward", every=3)
    before = [teacher.score.weight.item()]
    for t in range(7):
        report = reweighter.step(batch(SHAPE, 6, 10 + t), batch(SHAPE, 5, 60 + t))
        before.append(teacher.score.weight.item())
        assert (report.meta_loss is not None) == (t % 3 == 0)
        assert (before[-1] != before[-2]) == (t % 3 == 0)
    assert float(report.weights.std()) > 0
    assert (len(teacher.observed), len(teacher.tracked)) == (3, 7)


def test_observe_and_track_see_detached_states_of_their_own_batches() -> None:
    teacher = ByLoss().double()
    reweighter = build(BatchNormResNet().double(), teacher)
    reweighter.step(batch(SHAPE, 6, 1), batch(SHAPE, 5, 2))
    assert teacher.observed[0].index.tolist() == batch(SHAPE, 5, 2).index.tolist()
    assert teacher.tracked[0].index.tolist() == batch(SHAPE, 6, 1).index.tolist()
    assert not teacher.observed[0].outputs.requires_grad
    assert not teacher.tracked[0].loss.requires_grad


def test_knn_without_parameters_sees_the_meta_set_and_leaves_no_trace() -> None:
    torch.manual_seed(0)
    module = Dropped().double()
    plain = build(copy.deepcopy(module), mw.build_teacher("uniform", mw.StateSpec({}, 3, torch.float64)))
    run(plain, 1)
    student = mw.Student(module, taps=("body.bn2",))
    spec = student.spec(batch(SHAPE, 4, 0))
    reweighter = build(module, mw.build_teacher("knn", spec), taps=student.taps)
    run(reweighter, 1)  # the first batch is weighed after the meta set was seen, so only buffers must agree
    for name in ("body.bn1.running_mean", "body.bn2.running_var"):
        assert torch.equal(module.state_dict()[name], plain.student.module.state_dict()[name])


def test_a_nan_stops_before_anything_has_changed() -> None:
    torch.manual_seed(0)
    module = BatchNormResNet().double()
    reweighter = build(module, ByLoss().double(), engine="forward")
    run(reweighter, 2)
    before = [t.clone() for t in everything(reweighter)]
    good, meta = batch(SHAPE, 6, 1), batch(SHAPE, 5, 2)
    x = good.inputs[0].clone()
    x[4] = float("inf")
    for train, trusted in (
        (mw.Batch((x,), good.targets, good.index), meta),
        (good, mw.Batch((x[:5],), good.targets[:5], good.index[:5])),
    ):
        with pytest.raises(mw.NonFiniteError, match="index"):
            reweighter.step(train, trusted)
        assert reweighter.steps == 2
        for a, b in zip(everything(reweighter), before, strict=True):
            if a.dtype != torch.uint8:  # the generators may have moved on
                assert torch.equal(a, b)


def test_plain_steps_in_warm_up_need_no_meta_batch() -> None:
    reweighter = build(BatchNormResNet().double(), ByLoss().double())
    report = reweighter.step(batch(SHAPE, 6, 1), teach=False)
    assert torch.equal(report.weights, torch.ones(6).double())
    assert report.meta_loss is None
    with pytest.raises(ValueError, match="needs a meta batch"):
        reweighter.step(batch(SHAPE, 6, 1))


def test_options_that_do_not_go_together() -> None:
    module = BatchNormResNet().double()
    sgd = torch.optim.SGD(module.parameters(), lr=0.1)
    l2rw = mw.build_teacher("l2rw", mw.StateSpec({}, 3))
    with pytest.raises(ValueError, match="Did you mean 'lookahead'"):
        build(module, ByLoss(), schedule="look-ahead")
    with pytest.raises(ValueError, match="every is 1 or more"):
        build(module, ByLoss(), every=0)
    with pytest.raises(ValueError, match="unroll is 1 or more"):
        build(module, ByLoss(), unroll=0)
    with pytest.raises(ValueError, match=r"unrolls 1 inner step\(s\), not 2; engine='reverse'"):
        build(module, ByLoss(), unroll=2, engine="forward")
    with pytest.raises(ValueError, match="max_norm"):
        build(module, ByLoss(), max_norm=0.0)
    elsewhere = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(ValueError, match="optimizer holds no trainable parameter of this student"):
        mw.Reweighter(mw.Student(module), l2rw, optimizer=elsewhere)
    for other, message in (
        (elsewhere, "no trainable parameter of this teacher"),
        (sgd, "of the student"),
    ):
        with pytest.raises(ValueError, match=f"teacher_optimizer holds .*{message}"):
            mw.Reweighter(mw.Student(module), ByLoss(), optimizer=sgd, teacher_optimizer=other)
    with pytest.raises(TypeError, match=r"got tuple: give the DataLoader collate_fn=metaweight"):
        build(module, ByLoss()).step(batch(SHAPE, 6, 1), (torch.ones(2), torch.ones(2)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lookahead, every=1"):
        mw.Reweighter(mw.Student(module), l2rw, optimizer=sgd, schedule="online")
    with pytest.raises(ValueError, match="unroll=1"):
        mw.Reweighter(mw.Student(module), l2rw, optimizer=sgd, unroll=2)
    with pytest.raises(KeyError, match="unknown engine"):
        build(module, ByLoss(), engine="highest")
    with pytest.raises(TypeError, match="one Batch or a list of them, got int"):
        build(module, ByLoss()).step(3, batch(SHAPE, 5, 2))
    for count in (0, 2):
        with pytest.raises(ValueError, match=f"1 to 1 batches, as unroll=1 says, got {count}"):
            build(module, ByLoss()).step([batch(SHAPE, 6, 1)] * count, batch(SHAPE, 5, 2))


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
@pytest.mark.parametrize(
    ("center", "anchor", "means"),
    [(None, 1.0, True), (True, 0.3, True), (False, 1.0, False), ("class", 0.7, "class")],
)
def test_the_teacher_steps_along_the_hypergradient_as_it_is_centred(
    schedule: str, center: object, anchor: float, means: object
) -> None:
    torch.manual_seed(0)
    module, teacher = Dropped().double(), ByLoss().double()
    nn.init.constant_(teacher.score.weight, 0.7)  # weights that differ, with a mean away from 1
    reweighter = build(module, teacher, engine="forward", schedule=schedule, center=center, anchor=anchor)
    train, meta, learned = batch(SHAPE, 6, 10), batch(SHAPE, 5, 60), list(teacher.parameters())
    before = [p.detach().clone() for p in learned]
    torch.manual_seed(11)
    expected = mw.hypergradient(
        reweighter.student,
        *(reweighter.optimizer, train, meta, teacher, learned),
        engine="higher",
        center=means,
        anchor=anchor,
    ).grads
    torch.manual_seed(11)
    reweighter.step(train, meta)
    for now, then, grad in zip(learned, before, expected, strict=True):
        torch.testing.assert_close(now.detach(), then - 0.5 * grad, rtol=1e-9, atol=1e-12)


def test_a_teacher_that_only_looks_sees_every_meta_batch() -> None:
    torch.manual_seed(0)
    teacher = Frozen().double()
    reports = run(build(Dropped().double(), teacher, every=2), 4)
    assert [state.targets.tolist() for state in teacher.observed] == [
        batch(SHAPE, 5, 60 + t).targets.tolist() for t in (0, 2)
    ]
    losses = [report.meta_loss for report in reports]
    observed = [float(state.loss.mean()) for state in teacher.observed]
    assert losses == [observed[0], None, observed[1], None]


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_every_state_that_the_teacher_weighs_has_the_progress_of_its_step(schedule: str) -> None:
    class Clock(ByLoss):
        def forward(self, state: mw.StudentState) -> Tensor:
            times.append(state.progress)
            return super().forward(state)

    times: list[float] = []
    torch.manual_seed(0)
    options = {"engine": "forward", "schedule": schedule, "total_steps": 4}
    run(build(Dropped().double(), Clock().double(), **options), 3)
    again = 2 if schedule == "lookahead" else 1  # once for the virtual step, once more for the real one
    assert times == [t / 4 for t in range(3) for _ in range(again)]


def test_without_a_teacher_optimizer_adam_trains_what_the_teacher_has() -> None:
    torch.manual_seed(0)
    module = Dropped().double()
    ours, theirs = ByLoss().double(), ByLoss().double()
    theirs.load_state_dict(ours.state_dict())
    mine = build(copy.deepcopy(module), theirs)
    mine.live.teaching = ByParameters(
        theirs, torch.optim.Adam(theirs.parameters(), lr=1e-3), tuple(theirs.parameters())
    )
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    given = mw.Reweighter(mw.Student(module), ours, optimizer=optimizer)
    for reweighter in (mine, given):
        torch.manual_seed(1)
        run(reweighter)
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)
    assert mw.Reweighter(mw.Student(module), Frozen(), optimizer=optimizer).teacher_optimizer is None


def test_collapse_is_said_once_and_only_then() -> None:
    watch = CollapseWatch(patience=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(9):
            watch.see(1.9, 0.0)
        spread = CollapseWatch(patience=5)
        for t in range(50):
            spread.see(1.0, 0.5 if t % 5 == 0 else 0.0)
    with pytest.warns(mw.CollapseWarning, match=r"collapsed to one value \(mean 1\.90"):
        watch.see(1.9, 0.0)
    again = CollapseWatch(patience=5)
    again.load_state_dict(watch.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.see(1.9, 0.0)


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_state_dict_goes_on_bit_for_bit(schedule: str) -> None:
    def fresh() -> mw.Reweighter:
        torch.manual_seed(0)
        return build(Dropped().double(), ByLoss().double(), engine="forward", schedule=schedule)

    whole = fresh()
    run(whole, 4)
    first = fresh()
    run(first, 2)
    random, state = torch.get_rng_state(), copy.deepcopy(first.state_dict())
    second = fresh()
    second.load_state_dict(state)
    torch.set_rng_state(random)
    for t in (2, 3):
        second.step(batch(SHAPE, 6, 10 + t), batch(SHAPE, 5, 60 + t))
    for a, b in zip(everything(second), everything(whole), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        (lambda loss: None, r"a floating tensor of weights \[6\], got NoneType"),
        (lambda loss: [1.0] * len(loss), "got list"),
        (lambda loss: (loss > 1).long(), r"got a tensor of torch\.int64"),
    ],
)
def test_what_is_no_weight_is_named(gives: Callable[[Tensor], Any], message: str) -> None:
    class Odd(ByLoss):
        def forward(self, state: mw.StudentState) -> Tensor:
            found: Tensor = gives(state.loss)
            return found

    with pytest.raises(TypeError, match=message):
        build(BatchNormResNet().double(), Odd()).step(batch(SHAPE, 6, 1), batch(SHAPE, 5, 2))
