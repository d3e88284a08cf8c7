"""Every engine against central differences of the real optimizer, and against ``higher``, in float64."""

from __future__ import annotations

import functools

import pytest
import torch
from slowly import covering, one_in
from students import OPTIMIZERS, REFUSED, STEP_ENGINES, able, able_student, agreement, engine_for, make
from torch import Tensor, nn

import metaweight as mw
from metaweight.testing.oracles import RealSteps, live_tensors, relative
from metaweight.testing.rules import changed

RESNETS = ("batchnorm-resnet", "groupnorm-resnet")


def slopes(
    engine: str,
    student: mw.Student,
    optimizer: torch.optim.Optimizer,
    train: object,
    meta: mw.Batch,
    **kw: object,
) -> list[Tensor]:
    """dL_meta/dw by an engine, w being the tensors themselves."""
    count = len(train) if isinstance(train, list) else 1
    weights = [weights_of(i).requires_grad_() for i in range(count)]
    queue = iter(weights)
    chosen = engine_for(engine, optimizer)
    result = mw.hypergradient(student, optimizer, train, meta, lambda _s: next(queue), weights, chosen, **kw)
    return list(result.grads)


def weights_of(seed: int) -> Tensor:
    return torch.rand(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


@functools.cache
def measured(student: str, optimizer: str, warm: int, max_norm: float | None = None) -> Tensor:
    """Central differences of real steps, once for all engines."""
    built, own, train, meta = make(student, optimizer, warm=warm)
    return RealSteps(built, own, [train], meta, max_norm=max_norm).slopes([weights_of(0)])[0]


@pytest.mark.parametrize(
    ("engine", "student", "optimizer", "warm"),
    covering(able(STEP_ENGINES), [("nesterov", 3), ("adamw", 0)]),
)
def test_every_student_equals_central_differences(
    engine: str, student: str, optimizer: str, warm: int
) -> None:
    truth = measured(student, optimizer, warm)
    found = slopes(engine, *make(student, optimizer, warm=warm))[0]
    assert relative(found, truth) <= agreement(engine, 1e-6)


@pytest.mark.parametrize(
    ("engine", "optimizer", "warm", "max_norm"),
    covering(STEP_ENGINES, OPTIMIZERS, [(0, 0.05), (3, None), (3, 0.05)], pairs=True),
)
def test_every_optimizer_equals_central_differences(
    engine: str, optimizer: str, warm: int, max_norm: float | None
) -> None:
    student = able_student(engine, *RESNETS)
    truth = measured(student, optimizer, warm, max_norm)
    found = slopes(engine, *make(student, optimizer, warm=warm), max_norm=max_norm)[0]
    assert relative(found, truth) <= agreement(engine, 1e-6)


# an update rule knows no layer, so each student meets two rules here and each rule a student above
@pytest.mark.parametrize(
    ("engine", "student", "optimizer", "warm"),
    covering(able(e for e in STEP_ENGINES if e != "higher"), [("groups", 3), ("adamw", 0)]),
)
def test_engine_equals_higher_through_a_teacher(engine: str, student: str, optimizer: str, warm: int) -> None:
    built, own, train, meta = make(student, optimizer, warm=warm)
    torch.manual_seed(9)
    teacher = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()

    def weigh(state: mw.StudentState) -> Tensor:
        (feature,) = state.features.values()
        return 2 * teacher(torch.stack([state.loss, feature.sum(1)], dim=1)).squeeze(1).sigmoid()

    unrelated = nn.Parameter(torch.zeros(3).double())
    wrt = [*teacher.parameters(), unrelated]
    ours, expected = (
        mw.hypergradient(built, own, train, meta, weigh, wrt, name, max_norm=0.5)
        for name in (engine_for(engine, own), "higher")
    )
    ours_flat, expected_flat = (torch.cat([g.flatten() for g in r.grads]) for r in (ours, expected))
    assert relative(ours_flat, expected_flat) <= agreement(engine)
    assert float(ours.meta_loss) == pytest.approx(float(expected.meta_loss), rel=1e-12)
    assert torch.equal(ours.grads[-1], torch.zeros(3).double())
    assert ours.gradient.keys() == expected.gradient.keys()
    for name, gradient in expected.gradient.items():
        torch.testing.assert_close(ours.gradient[name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("engine", "student"), [(e, s) for e in REFUSED for s in REFUSED[e]])
def test_engine_refuses_what_it_cannot_do_and_names_it(engine: str, student: str) -> None:
    built, own, train, meta = make(student, "sgd")
    before = live_tensors(built, own)
    with pytest.raises(mw.engines.EngineError, match=f"{REFUSED[engine][student]}.*use engine='"):
        slopes(engine, built, own, train, meta)
    assert changed(before, live_tensors(built, own)) == []


def test_centring_leaves_the_differences() -> None:
    built, own, train, meta = make("batchnorm-resnet", "momentum")
    plain, centred = (slopes("forward", built, own, train, meta, center=c)[0] for c in (False, True))
    assert abs(float(centred.sum())) < 1e-15
    torch.testing.assert_close(centred, plain - plain.mean(), rtol=1e-12, atol=1e-15)


def test_the_anchor_pulls_the_mean_weight_to_one() -> None:
    built, own, train, meta = make("batchnorm-resnet", "momentum")
    plain = slopes("forward", built, own, train, meta)[0]
    pulled = slopes("forward", built, own, train, meta, center=True, anchor=0.7)[0]
    centred = plain - plain.mean()
    pull = 0.7 * centred.std(correction=0) * (weights_of(0).mean() - 1)
    torch.testing.assert_close(pulled, centred + pull, rtol=1e-12, atol=1e-15)
    # a gradient that is positive lowers the weights: the pull has the sign of what is to be lowered
    assert bool(pull > 0) == bool(weights_of(0).mean() > 1)


@pytest.mark.parametrize(("engine", "student"), one_in(2, able(STEP_ENGINES)))
def test_nothing_live_is_touched(engine: str, student: str) -> None:
    built, own, train, meta = make(student, "adamw")
    before = live_tensors(built, own)
    slopes(engine, built, own, train, meta)
    assert changed(before, live_tensors(built, own)) == []
