"""Windows of K steps: against plain loops, ``higher`` and central differences over the teacher."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from slowly import covering, slowly
from step_parts import ByLoss
from students import OPTIMIZERS, SHAPE, Dropped, Encoder, batch, engine_for
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import metaweight as mw
from metaweight.engines import Engine, Reverse
from metaweight.testing.oracles import plain_step

STEPS = 3
SCHEDULES = ["lookahead", "online"]
TAKE_WINDOWS = ("higher", "reverse", "auto")


def rates_of(optimizer: torch.optim.Optimizer, window: int = 0, steps: int = STEPS) -> list[list[float]]:
    """Learning rates that fall from step to step."""
    return [
        [group["initial"] * 0.8 ** (window * STEPS + k) for group in optimizer.param_groups]
        for k in range(steps)
    ]


def build(
    module: nn.Module,
    optimizer: str,
    engine: str | Engine,
    schedule: str,
    *,
    teacher_lr: float = 0.5,
    **more: object,
) -> mw.Reweighter:
    own = OPTIMIZERS[optimizer](list(module.parameters()))
    for group in own.param_groups:
        group["initial"] = group["lr"]
    teacher = ByLoss().double()
    with torch.no_grad():
        teacher.score.weight.fill_(0.3)
    return mw.Reweighter(
        mw.Student(module),
        teacher,
        optimizer=own,
        teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=teacher_lr),
        engine=engine_for(engine, own) if isinstance(engine, str) else engine,
        schedule=schedule,
        unroll=STEPS,
        **more,
    )


def windows(count: int, shape: tuple[int, ...] = SHAPE) -> list[tuple[list[mw.Batch], mw.Batch]]:
    return [
        ([batch(shape, 6, 10 + STEPS * n + k) for k in range(STEPS)], batch(shape, 5, 60 + n))
        for n in range(count)
    ]


def close(ours: nn.Module, theirs: nn.Module) -> None:
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("engine", "schedule", "optimizer"),
    covering(["higher", "reverse"], SCHEDULES, ["momentum", "nesterov", "adam", "groups"], pairs=True),
)
@pytest.mark.parametrize("student", ["batchnorm-dropout", *slowly("encoder-dropout")])
def test_a_window_is_k_plain_steps_with_its_weights(
    engine: str, schedule: str, optimizer: str, student: str
) -> None:
    """BatchNorm's statistics, the masks, clipping and a decaying learning rate, over two windows."""
    torch.manual_seed(0)
    module, shape = (Dropped(), SHAPE) if student == "batchnorm-dropout" else (Encoder(0.1), (3, 8))
    module = module.double()
    plain = copy.deepcopy(module)
    reweighter = build(module, optimizer, engine, schedule, max_norm=0.3)
    torch.manual_seed(11)
    reports = [
        reweighter.step(train, meta, rates=rates_of(reweighter.optimizer, n))
        for n, (train, meta) in enumerate(windows(2, shape))
    ]
    random = torch.get_rng_state()
    own = OPTIMIZERS[optimizer](list(plain.parameters()))
    torch.manual_seed(11)
    with sdpa_kernel(SDPBackend.MATH):
        for n, (train, _) in enumerate(windows(2, shape)):
            for k, (one, weights) in enumerate(zip(train, reports[n].weights.split(6), strict=True)):
                for group, rate in zip(own.param_groups, rates_of(reweighter.optimizer, n)[k], strict=True):
                    group["lr"] = rate
                plain_step(plain, own, one, weights, 0.3)
    close(module, plain)
    assert torch.equal(torch.get_rng_state(), random)
    assert (reweighter.steps, reweighter.windows) == (6, 2)
    for ours, theirs in zip(reweighter.optimizer.state.values(), own.state.values(), strict=True):
        for key, value in theirs.items():
            torch.testing.assert_close(ours[key], value, rtol=1e-11, atol=1e-13)
    assert [g["lr"] for g in reweighter.optimizer.param_groups] == [g["lr"] for g in own.param_groups]


@pytest.mark.parametrize(("schedule", "optimizer"), covering(SCHEDULES, ["momentum", "adamw"]))
def test_reverse_trains_as_higher_does(schedule: str, optimizer: str) -> None:
    ends = []
    for engine in ("higher", "reverse"):
        torch.manual_seed(0)
        reweighter = build(Dropped().double(), optimizer, engine, schedule)
        torch.manual_seed(11)
        for n, (train, meta) in enumerate(windows(2)):
            report = reweighter.step(train, meta, rates=rates_of(reweighter.optimizer, n))
        assert reweighter.teacher.score.weight.item() != pytest.approx(0.3, rel=1e-6)
        ends.append(
            [*reweighter.teacher.parameters(), *reweighter.student.module.parameters(), report.weights]
        )
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_teacher_moves_along_the_true_gradient(schedule: str) -> None:
    """Central differences over the teacher through real steps; its inputs count, so through the state."""
    torch.manual_seed(0)
    module = Dropped().double()
    reweighter = build(module, "momentum", Reverse(through_state=True), schedule, center=False)
    ((train, meta),) = windows(1)
    before = copy.deepcopy(module)

    def meta_loss(slope: float, bias: float) -> float:
        own = copy.deepcopy(before)
        student, optimizer = mw.Student(own), OPTIMIZERS["momentum"](list(own.parameters()))
        torch.manual_seed(11)
        for k, one in enumerate(train):
            optimizer.param_groups[0]["lr"] = rates_of(reweighter.optimizer)[k][0]
            forward = student(one)
            weights = 2 * torch.sigmoid(slope * forward.loss.detach() + bias)
            optimizer.zero_grad()
            (weights * forward.loss).mean().backward()
            optimizer.step()
        with torch.no_grad():
            return float(student(meta).loss.mean())

    h = 1e-3
    by_slope = (meta_loss(0.3 + h, 0.0) - meta_loss(0.3 - h, 0.0)) / (2 * h)
    by_bias = (meta_loss(0.3, h) - meta_loss(0.3, -h)) / (2 * h)
    torch.manual_seed(11)
    report = reweighter.step(train, meta, rates=rates_of(reweighter.optimizer))
    teacher = reweighter.teacher
    assert teacher.score.weight.item() == pytest.approx(0.3 - 0.5 * by_slope, abs=1e-6)
    assert teacher.score.bias.item() == pytest.approx(-0.5 * by_bias, abs=1e-6)
    assert abs(by_slope) > 1e-3
    assert report.meta_loss == pytest.approx(meta_loss(0.3, 0.0), rel=1e-9)


def test_one_report_for_all_steps_of_a_window() -> None:
    for schedule in SCHEDULES:
        torch.manual_seed(0)
        reweighter = build(Dropped().double(), "momentum", "reverse", schedule)
        ((train, meta),) = windows(1)
        report = reweighter.step(train, meta)
        assert report.weights.shape == report.losses.shape == report.index.shape == (18,)
        assert torch.equal(report.index, torch.cat([one.index for one in train]))
        assert report.train_loss == pytest.approx(float(report.losses.mean()))
        assert report.stats["size"] == 18
        assert report.stats["weight_mean"] == pytest.approx(float(report.weights.mean()))
        assert not report.weights.requires_grad
        teacher = reweighter.teacher
        assert isinstance(teacher, ByLoss)
        assert [s.index.tolist() for s in teacher.tracked] == [one.index.tolist() for one in train]
        assert [s.index.tolist() for s in teacher.observed] == [meta.index.tolist()]


def test_a_window_may_be_shorter_and_one_batch_is_a_window_of_one() -> None:
    for schedule in SCHEDULES:
        ends = []
        for unroll, given in ((STEPS, list), (1, lambda batches: batches[0])):
            torch.manual_seed(0)
            module = Dropped().double()
            teacher = ByLoss().double()
            reweighter = mw.Reweighter(
                mw.Student(module),
                teacher,
                optimizer=OPTIMIZERS["momentum"](list(module.parameters())),
                teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=0.5),
                engine="reverse",
                schedule=schedule,
                unroll=unroll,
            )
            torch.manual_seed(11)
            report = reweighter.step(given([batch(SHAPE, 6, 1)]), batch(SHAPE, 5, 2))
            ends.append([*module.state_dict().values(), *teacher.parameters(), report.weights])
        assert all(map(torch.equal, *ends))


def test_every_n_counts_windows() -> None:
    torch.manual_seed(0)
    reweighter = build(Dropped().double(), "momentum", "reverse", "online", every=2)
    updated = []
    for train, meta in windows(4):
        before = reweighter.teacher.score.weight.item()
        report = reweighter.step(train, meta)
        updated.append(reweighter.teacher.score.weight.item() != before)
        assert (report.meta_loss is not None) == updated[-1]
    assert updated == [True, False, True, False]
    assert reweighter.steps == 12


def test_plain_windows_need_no_meta_batch() -> None:
    torch.manual_seed(0)
    module = Dropped().double()
    plain = copy.deepcopy(module)
    reweighter = build(module, "momentum", "reverse", "online")
    ((train, _),) = windows(1)
    torch.manual_seed(11)
    report = reweighter.step(train, teach=False, rates=rates_of(reweighter.optimizer))
    assert torch.equal(report.weights, torch.ones(18).double())
    own = OPTIMIZERS["momentum"](list(plain.parameters()))
    torch.manual_seed(11)
    for k, one in enumerate(train):
        own.param_groups[0]["lr"] = rates_of(reweighter.optimizer)[k][0]
        plain_step(plain, own, one, torch.ones(6).double())
    assert all(map(torch.equal, module.state_dict().values(), plain.state_dict().values()))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("bad", [0, 2, "meta"])
def test_a_nan_in_a_window_stops_before_anything_has_changed(schedule: str, bad: int | str) -> None:
    torch.manual_seed(0)
    module = Dropped().double()
    reweighter = build(module, "momentum", "reverse", schedule)
    (first, (train, meta)) = windows(2)
    reweighter.step(*first)
    live = lambda: [*module.state_dict().values(), *reweighter.teacher.state_dict().values()]  # noqa: E731
    before = [t.clone() for t in live()]
    if bad == "meta":
        meta = dataclasses.replace(meta, inputs=(meta.inputs[0] * float("nan"),))
    else:
        train[int(bad)] = dataclasses.replace(
            train[int(bad)], inputs=(train[int(bad)].inputs[0] * float("inf"),)
        )
    with pytest.raises(mw.NonFiniteError, match="index"):
        reweighter.step(train, meta)
    assert all(map(torch.equal, live(), before))
    assert (reweighter.steps, reweighter.windows) == (3, 1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_state_dict_goes_on_bit_for_bit(schedule: str) -> None:
    def fresh() -> mw.Reweighter:
        torch.manual_seed(0)
        return build(Dropped().double(), "adam", "reverse", schedule, every=2)

    whole, first, second = fresh(), fresh(), fresh()
    torch.manual_seed(11)
    for train, meta in windows(4):
        whole.step(train, meta)
    torch.manual_seed(11)
    for train, meta in windows(4)[:1]:
        first.step(train, meta)
    random, state = torch.get_rng_state(), copy.deepcopy(first.state_dict())
    second.load_state_dict(state)
    torch.set_rng_state(random)
    for train, meta in windows(4)[1:]:
        second.step(train, meta)
    ends: list[list[Tensor]] = [
        [*r.student.module.state_dict().values(), *r.teacher.state_dict().values()] for r in (whole, second)
    ]
    assert all(map(torch.equal, *ends))


def test_an_engine_that_ends_no_window_is_refused_online() -> None:
    class Blind(Reverse):
        abilities = mw.engines.Abilities(steps=None, ends_window=False)

    module = Dropped().double()
    with pytest.raises(ValueError, match=r"cannot take unroll=3 real steps.*engine='reverse'"):
        build(module, "momentum", Blind(), "online")
    build(module, "momentum", Blind(), "lookahead")


@pytest.mark.parametrize("engine", TAKE_WINDOWS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_engine_of_any_number_of_steps_takes_three(engine: str, schedule: str) -> None:
    build(Dropped().double(), "momentum", engine, schedule)


@pytest.mark.parametrize("engine", sorted(set(mw.engines.names()) - set(TAKE_WINDOWS)))
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_engine_of_one_step_refuses_three(engine: str, schedule: str) -> None:
    with pytest.raises(ValueError, match="unroll"):
        build(Dropped().double(), "momentum", engine, schedule)
