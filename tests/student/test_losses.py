"""Losses that bear wrong labels: closed forms by hand, limits, and every engine through each of them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from slowly import covering
from students import STEP_ENGINES, able_student, agreement, engine_for, make
from torch import Tensor

import metaweight as mw
from metaweight.student.losses import (
    BootstrapHard,
    BootstrapSoft,
    ForwardCorrection,
    GeneralisedCrossEntropy,
    LabelSmoothing,
    UnitLoss,
    build_loss,
    cross_entropy,
    losses,
)
from metaweight.testing.oracles import relative

DOUBLE = torch.float64
T = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.9, 0.1], [0.25, 0.25, 0.5]], dtype=DOUBLE)
EVERY: dict[str, UnitLoss] = {
    **{name: build_loss(name) for name in losses.names()},
    "forward-correction": ForwardCorrection(T),
}


def random_logits(seed: int = 0, *, size: int = 40, classes: int = 3) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(size, classes, generator=g, dtype=DOUBLE)
    return logits, torch.randint(0, classes, (size,), generator=g)


def by_hand() -> tuple[Tensor, Tensor]:
    """Probabilities (1/2, 1/3, 1/6); the given labels are the classes 0 and 2."""
    row = torch.tensor([3.0, 2.0, 1.0], dtype=DOUBLE).log()
    return row.expand(2, 3), torch.tensor([0, 2])


def close(loss: Tensor, expected: list[float]) -> bool:
    return loss.tolist() == pytest.approx(expected, rel=1e-14)


def test_gce_by_hand() -> None:
    assert close(GeneralisedCrossEntropy(q=1.0)(*by_hand()), [1 / 2, 5 / 6])
    half = GeneralisedCrossEntropy(q=0.5)(*by_hand())
    assert close(half, [2 * (1 - math.sqrt(1 / 2)), 2 * (1 - math.sqrt(1 / 6))])


def test_gce_goes_to_cross_entropy_as_q_goes_to_0() -> None:
    logits, labels = random_logits()
    plain = cross_entropy(logits, labels)
    assert torch.equal(GeneralisedCrossEntropy(q=0)(logits, labels), plain)
    for q in (1e-6, 1e-10, 1e-14):
        # (1 - e^-qs) / q = s - q s^2 / 2 + ...; 1 - p^q would have lost every digit at the last q
        small = GeneralisedCrossEntropy(q=q)(logits, labels)
        assert (small - plain).abs().max() <= q * plain.square().max() + 1e-13


def test_gce_stays_finite_where_p_is_0_in_float32() -> None:
    logits = torch.tensor([[-500.0, 0.0], [500.0, 0.0]], requires_grad=True)
    loss = GeneralisedCrossEntropy()(logits, torch.tensor([0, 0]))
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.tolist() == pytest.approx([1 / 0.7, 0.0])
    assert bool(slope.isfinite().all())


def test_bootstrapping_by_hand() -> None:
    two, three, six = math.log(2), math.log(3), math.log(6)
    own = two / 2 + three / 3 + six / 6
    soft = BootstrapSoft(beta=0.6)(*by_hand())
    assert close(soft, [0.6 * two + 0.4 * own, 0.6 * six + 0.4 * own])
    hard = BootstrapHard(beta=0.6)(*by_hand())
    assert close(hard, [two, 0.6 * six + 0.4 * two])
    for kind in (BootstrapSoft, BootstrapHard):
        assert torch.equal(kind(beta=1)(*random_logits()), cross_entropy(*random_logits()))


def test_the_gradient_of_soft_bootstrapping_goes_through_both_probabilities() -> None:
    logits, labels = random_logits(size=1)
    logits.requires_grad_()
    (slope,) = torch.autograd.grad(BootstrapSoft(beta=0.0)(logits, labels).sum(), logits)
    p = logits.detach().softmax(dim=-1)
    entropy = -(p * p.log()).sum()
    assert torch.allclose(slope, -p * (p.log() + entropy), rtol=1e-12, atol=1e-14)


def test_label_smoothing_is_torchs() -> None:
    logits, labels = random_logits()
    ours = LabelSmoothing(smoothing=0.3)(logits, labels)
    torchs = F.cross_entropy(logits, labels, label_smoothing=0.3, reduction="none")
    assert torch.allclose(ours, torchs, rtol=1e-13)


def test_forward_correction_by_hand_and_against_the_product() -> None:
    # p = (1/2, 1/3, 1/6): given 0 has 1/2 * 0.7 + 0 + 1/6 * 0.25, given 2 has 0.05 + 1/30 + 1/12
    loss = ForwardCorrection(T)(*by_hand())
    assert close(loss, [-math.log(0.35 + 0.25 / 6), -math.log(1 / 20 + 1 / 30 + 1 / 12)])
    logits, labels = random_logits()
    given = (logits.softmax(dim=-1) @ T).log()
    assert torch.allclose(ForwardCorrection(T)(logits, labels), F.nll_loss(given, labels, reduction="none"))
    identity = ForwardCorrection(torch.eye(3))
    assert torch.allclose(identity(logits, labels), cross_entropy(logits, labels), rtol=1e-12)


@pytest.mark.parametrize(
    ("matrix", "complaint"),
    [
        (torch.ones(2, 3) / 3, r"shape \[C, C\], got \(2, 3\)"),
        (torch.tensor([[1.5, -0.5], [0.0, 1.0]]), "entries of 0 or more"),
        (torch.tensor([[1.0, 0.0], [0.5, 0.4]]), "row 1 to 0.9"),
    ],
)
def test_a_matrix_that_is_no_transition_is_refused(matrix: Tensor, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ForwardCorrection(matrix)


def test_mistakes_are_named() -> None:
    with pytest.raises(KeyError, match=r"unknown loss 'gcee'\. Did you mean 'gce'"):
        build_loss("gcee")
    with pytest.raises(TypeError, match=r"loss 'bootstrap-soft' has no option 'betta'\. Did you mean 'beta'"):
        build_loss("bootstrap-soft", betta=1)
    with pytest.raises(ValueError, match=r"q of gce lies in \[0, 1\], got 2"):
        build_loss("gce", q=2)
    with pytest.raises(ValueError, match="2 classes, logits of 3"):
        ForwardCorrection(torch.eye(2))(*random_logits())
    for loss in EVERY.values():
        with pytest.raises(ValueError, match="labels run from 0 to 2, got 3 at position 0"):
            loss(torch.zeros(1, 3), torch.tensor([3]))


@pytest.mark.parametrize("name", EVERY)
def test_a_loss_has_a_second_derivative_and_a_forward_mode_rule(name: str) -> None:
    logits, labels = random_logits(size=4)

    def loss(x: Tensor) -> Tensor:
        return EVERY[name](x, labels)

    logits.requires_grad_()
    assert torch.autograd.gradcheck(loss, logits, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss, logits)


@pytest.mark.parametrize(
    ("engine", "name"), covering([engine for engine in STEP_ENGINES if engine != "higher"], EVERY)
)
def test_every_engine_goes_through_every_loss(engine: str, name: str) -> None:
    student = able_student(engine, "batchnorm-resnet", "words")
    assert relative(slopes(engine, student, name), slopes("higher", student, name)) <= agreement(engine)


def slopes(engine: str, name: str, loss: str) -> Tensor:
    """dL_meta/dw of the student ``name`` with ``loss``."""
    student, optimizer, train, meta = make(name, "momentum")
    student.loss = EVERY[loss]
    w = torch.linspace(0.5, 1.5, 6, dtype=DOUBLE).requires_grad_()
    chosen = engine_for(engine, optimizer)
    return mw.hypergradient(student, optimizer, train, meta, lambda _s: w, [w], chosen).grads[0]
