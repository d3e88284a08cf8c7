"""Every engine against central differences of the real optimizer, and against ``higher``, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import metaweight as mw
from oracles import (
    OPTIMIZERS,
    REFUSED,
    STEP_ENGINES,
    able,
    able_student,
    agreement,
    central_differences,
    engine_for,
    make,
    relative,
    snapshot,
)

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


@pytest.mark.parametrize(("engine", "student"), able(STEP_ENGINES))
@pytest.mark.parametrize("warm", [0, 3])
def test_engine_equals_central_differences(engine: str, student: str, warm: int) -> None:
    # every student with one rule of each kind; the agreement test below has the full product
    for optimizer in ("nesterov", "adamw"):
        built, own, train, meta = make(student, optimizer, warm=warm)
        truth = central_differences(built, own, [train], meta, [weights_of(0)])[0]
        assert relative(slopes(engine, built, own, train, meta)[0], truth) <= agreement(engine, 1e-6)


@pytest.mark.parametrize("engine", STEP_ENGINES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("warm", [0, 3])
def test_every_optimizer_equals_central_differences(engine: str, optimizer: str, warm: int) -> None:
    built, own, train, meta = make(able_student(engine, *RESNETS), optimizer, warm=warm)
    for max_norm in (None, 0.05):
        truth = central_differences(built, own, [train], meta, [weights_of(0)], max_norm=max_norm)[0]
        assert relative(slopes(engine, built, own, train, meta, max_norm=max_norm)[0], truth) <= agreement(
            engine, 1e-6
        )


@pytest.mark.parametrize(("engine", "student"), able(e for e in STEP_ENGINES if e != "higher"))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("warm", [0, 3])
def test_engine_equals_higher_through_a_teacher(engine: str, student: str, optimizer: str, warm: int) -> None:
    built, own, train, meta = make(student, optimizer, warm=warm)
    torch.manual_seed(9)
    teacher = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()

    def weigh(state: mw.StudentState) -> Tensor:
        (feature,) = state.features.values()
        return 2 * teacher(torch.stack([state.loss, feature.sum(1)], dim=1)).squeeze(1).sigmoid()

    unrelated = nn.Parameter(torch.zeros(3).double())
    wrt = [*teacher.parameters(), unrelated]
    for center in (False, True):
        a, b = (
            mw.hypergradient(built, own, train, meta, weigh, wrt, name, center=center, max_norm=0.5)
            for name in (engine_for(engine, own), "higher")
        )
        flat_a, flat_b = (torch.cat([g.flatten() for g in r.grads]) for r in (a, b))
        assert relative(flat_a, flat_b) <= agreement(engine)
        assert float(a.meta_loss) == pytest.approx(float(b.meta_loss), rel=1e-12)
        assert torch.equal(a.grads[-1], torch.zeros(3).double())
        for name in b.gradient:
            torch.testing.assert_close(a.gradient[name], b.gradient[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("engine", "student"), [(e, s) for e in REFUSED for s in REFUSED[e]])
def test_engine_refuses_what_it_cannot_do_and_names_it(engine: str, student: str) -> None:
    built, own, train, meta = make(student, "sgd")
    before = snapshot(built, own)
    with pytest.raises(mw.engines.EngineError, match=f"{REFUSED[engine][student]}.*use engine='"):
        slopes(engine, built, own, train, meta)
    for a, b in zip(before, snapshot(built, own), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
@pytest.mark.parametrize("steps", [2, 3])
def test_higher_unrolls_k_steps(optimizer: str, steps: int) -> None:
    built, own, first, meta = make("batchnorm-resnet", optimizer)
    train = [
        first,
        *(mw.Batch((first.inputs[0].roll(k, 0) * 1.1,), first.targets, first.index) for k in range(1, steps)),
    ]
    weights = [weights_of(k) for k in range(steps)]
    truth = torch.cat(central_differences(built, own, train, meta, weights))
    assert relative(torch.cat(slopes("higher", built, own, train, meta)), truth) <= 1e-6


def test_k1_sgd_closed_form() -> None:
    """g_i = -(lr / n) <grad meta(theta'), grad loss_i(theta)> by per-sample gradients."""
    built, own, train, meta = make("words", "sgd")
    params = list(built.module.parameters())
    per_sample = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, params, retain_graph=True)])
        for loss in built(train).loss
    ]
    total = sum(w * g for w, g in zip(weights_of(0), per_sample, strict=True)) / 6
    flat = nn.utils.parameters_to_vector(params).detach()
    nn.utils.vector_to_parameters(flat - 0.3 * total, params)
    after = torch.cat([g.flatten() for g in torch.autograd.grad(built(meta).loss.mean(), params)])
    nn.utils.vector_to_parameters(flat, params)
    closed = torch.stack([-(0.3 / 6) * (after @ g) for g in per_sample])
    for engine in STEP_ENGINES:
        assert relative(slopes(engine, built, own, train, meta)[0], closed) <= agreement(engine, 1e-12)


@pytest.mark.parametrize("engine", STEP_ENGINES)
def test_centring_leaves_the_differences(engine: str) -> None:
    built, own, train, meta = make(able_student(engine, *RESNETS), "momentum")
    plain, centred = (slopes(engine, built, own, train, meta, center=c)[0] for c in (False, True))
    assert abs(float(centred.sum())) < 1e-15
    torch.testing.assert_close(centred, plain - plain.mean(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("engine", STEP_ENGINES)
def test_the_anchor_pulls_the_mean_weight_to_one(engine: str) -> None:
    built, own, train, meta = make(able_student(engine, *RESNETS), "momentum")
    plain = slopes(engine, built, own, train, meta)[0]
    pulled = slopes(engine, built, own, train, meta, center=True, anchor=0.7)[0]
    centred = plain - plain.mean()
    pull = 0.7 * centred.std(correction=0) * (weights_of(0).mean() - 1)
    torch.testing.assert_close(pulled, centred + pull, rtol=1e-12, atol=1e-15)
    # a gradient that is positive lowers the weights: the pull has the sign of what is to be lowered
    assert bool(pull > 0) == bool(weights_of(0).mean() > 1)


@pytest.mark.parametrize(("engine", "student"), able(STEP_ENGINES))
def test_nothing_live_is_touched(engine: str, student: str) -> None:
    built, own, train, meta = make(student, "adamw")
    before = snapshot(built, own)
    slopes(engine, built, own, train, meta)
    for a, b in zip(before, snapshot(built, own), strict=True):
        assert torch.equal(a, b)
    assert built.module.training


@pytest.mark.parametrize("engine", STEP_ENGINES)
def test_dropout_masks_are_those_of_the_real_step(engine: str) -> None:
    """Same generator state in, same masks: the virtual train loss is the one that a plain pass would give."""
    built, own, train, meta = make(able_student(engine, "encoder-dropout", "words-dropout"), "sgd")
    seen: list[Tensor] = []

    def weigh(state: mw.StudentState) -> Tensor:
        seen.append(state.loss)
        return w

    w = weights_of(0).requires_grad_()
    torch.manual_seed(77)
    mw.hypergradient(built, own, train, meta, weigh, [w], engine_for(engine, own))
    torch.testing.assert_close(seen[0], built(train).loss.detach(), rtol=1e-9, atol=0)
