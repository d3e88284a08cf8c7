"""Labels that move: one iteration by hand, and what cannot move."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from step_parts import ByLoss
from students import batch
from torch import Tensor, nn
from torch.func import functional_call

import metaweight as mw
from metaweight.core.contracts import Suggestion

SIZE, CLASSES, RATE, MOMENTUM, TEACHER_RATE = 6, 3, 0.2, 0.9, 0.5
LABELS = torch.tensor([2, 0, 1, 1, 0, 2])
SHARE = torch.tensor([0.5, 0.0, 1.0, 0.3, 0.7, 0.05], dtype=torch.float64)


class Suggesting(ByLoss):
    """Says the same of every batch."""

    silence = ""
    share = SHARE

    def suggest(self, state: mw.StudentState) -> Suggestion:
        return Suggestion(LABELS, self.share)


def layered(norm: bool) -> nn.Module:
    torch.manual_seed(0)
    parts = [nn.Flatten(), nn.Linear(24, 8), nn.BatchNorm1d(8) if norm else nn.LayerNorm(8), nn.Tanh()]
    return nn.Sequential(*parts, nn.Dropout(0.3), nn.Linear(8, CLASSES)).double()


def pair(module: nn.Module, teacher: mw.Teacher | None = None, **options: object) -> mw.Reweighter:
    teacher = Suggesting().double() if teacher is None else teacher
    with torch.no_grad():
        for parameter, first in zip(teacher.parameters(), (0.3, -0.2), strict=True):
            parameter.fill_(first)
    return mw.Reweighter(
        mw.Student(module),
        teacher,
        optimizer=torch.optim.SGD(module.parameters(), lr=RATE, momentum=MOMENTUM),
        teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=TEACHER_RATE),
        relabel=True,
        **{"center": False, "anchor": 0.0, **options},
    )


def data(count: int) -> list[tuple[mw.Batch, mw.Batch]]:
    return [(batch((3, 8), SIZE, k), batch((3, 8), 5, 50 + k)) for k in range(count)]


def by_hand(
    module: nn.Module, pairs: list[tuple[mw.Batch, mw.Batch]], *, online: bool, max_norm: float | None
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Parameters, teacher's parameters and last weights after these iterations, by double backward."""
    here = {name: p.detach().clone().requires_grad_() for name, p in module.named_parameters()}
    velocity: dict[str, Tensor] = {}
    phi = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)

    def after(loss: Tensor, graph: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        gradient = torch.autograd.grad(loss, list(here.values()), create_graph=graph, retain_graph=True)
        if max_norm is not None:
            norm = torch.cat([g.flatten() for g in gradient]).norm()
            gradient = tuple(g * (max_norm / (norm + 1e-6)).clamp(max=1) for g in gradient)
        named = dict(zip(here, gradient, strict=True))
        moved = {n: MOMENTUM * velocity[n] + g if n in velocity else g for n, g in named.items()}
        return {n: here[n] - RATE * moved[n] for n in here}, moved

    for train, meta in pairs:
        (x,), (x_meta,) = train.inputs, meta.inputs
        outputs = functional_call(module, here, (x,))
        given = F.cross_entropy(outputs, train.targets, reduction="none")
        other = (SHARE * F.cross_entropy(outputs, LABELS, reduction="none")).mean()

        def weights(phi: Tensor, given: Tensor = given) -> Tensor:
            return 2 * (phi[0] * given.detach() + phi[1]).sigmoid()

        random = torch.get_rng_state()  # what engines draw is none of the live student's
        there, moved = after((weights(phi) * given).mean() + other, graph=True)
        meta_loss = F.cross_entropy(functional_call(module, there, (x_meta,)), meta.targets)
        torch.set_rng_state(random)
        (slope,) = torch.autograd.grad(meta_loss, phi, retain_graph=True)
        used = weights(phi).detach()
        phi = (phi - TEACHER_RATE * slope).detach().requires_grad_()
        if not online:
            used = weights(phi).detach()
            there, moved = after((used * given).mean() + other, graph=False)
        here = {name: value.detach().requires_grad_() for name, value in there.items()}
        velocity = {name: value.detach() for name, value in moved.items()}
    return here, phi.detach(), used


@pytest.mark.parametrize("max_norm", [None, 0.4])
@pytest.mark.parametrize("schedule", ["lookahead", "online"])
@pytest.mark.parametrize("engine", ["higher", "forward", "double", "ghost", "reverse", "auto", "difference"])
def test_two_iterations_are_those_by_hand(engine: str, schedule: str, max_norm: float | None) -> None:
    """Both losses in the virtual and in the real step, under one dropout mask; BatchNorm where it may be."""
    norm = engine != "ghost"
    module, copy, pairs = layered(norm), layered(norm), data(2)
    torch.manual_seed(7)
    expected, phi, weights = by_hand(copy, pairs, online=schedule == "online", max_norm=max_norm)
    reweighter = pair(module, engine=engine, schedule=schedule, max_norm=max_norm)
    torch.manual_seed(7)
    reports = [reweighter.step(train, meta) for train, meta in pairs]
    exact = {"rtol": 1e-9, "atol": 1e-12} if engine != "difference" else {"rtol": 1e-5, "atol": 1e-7}
    own = torch.cat([p.detach().flatten() for p in reweighter.teacher.parameters()])
    torch.testing.assert_close(own, phi, **exact)
    torch.testing.assert_close(reports[-1].weights, weights, **exact)
    for name, value in module.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name].detach(), **exact)
    assert reports[-1].stats["moved"] == pytest.approx(float(SHARE.mean()), rel=1e-12)


class Plain(mw.Teacher):
    """Learns nothing, and suggests all the same."""

    learns, silence = False, ""

    def forward(self, state: mw.StudentState) -> Tensor:
        return torch.linspace(0, 2, len(state), dtype=torch.float64)

    def suggest(self, state: mw.StudentState) -> mw.Suggestion:
        return Suggesting.suggest(self, state)

    share = SHARE


def test_a_teacher_that_does_not_learn_moves_labels_too_and_none_in_a_warm_up() -> None:
    module, copy, (pairs, _) = layered(True), layered(True), data(2)
    reweighter = mw.Reweighter(
        mw.Student(module), Plain(), optimizer=torch.optim.SGD(module.parameters(), lr=RATE), relabel=True
    )
    optimizer = torch.optim.SGD(copy.parameters(), lr=RATE)
    train = pairs[0]
    for teach in (False, True):
        torch.manual_seed(3)
        report = reweighter.step(train, teach=teach)
        torch.manual_seed(3)
        outputs = train.call(copy)
        given, other = (F.cross_entropy(outputs, y, reduction="none") for y in (train.targets, LABELS))
        weights = torch.linspace(0, 2, SIZE, dtype=torch.float64) if teach else torch.ones(SIZE)
        optimizer.zero_grad()
        ((weights * given).mean() + teach * (SHARE * other).mean()).backward()
        optimizer.step()
        assert ("moved" in report.stats) == teach
    for name, value in copy.state_dict().items():
        torch.testing.assert_close(module.state_dict()[name], value, rtol=1e-12, atol=1e-14)


def test_gathered_gradients_count_beside_moved_labels() -> None:
    module, copy, ((train, meta), (more, _)) = layered(False), layered(False), data(2)
    reweighter = pair(module, engine="double", schedule="online")
    for one in (module, copy):
        torch.manual_seed(4)
        F.cross_entropy(more.call(one), more.targets).backward()
    torch.manual_seed(5)
    report = reweighter.step(train, meta)
    torch.manual_seed(5)
    outputs = train.call(copy)
    given, other = (F.cross_entropy(outputs, y, reduction="none") for y in (train.targets, LABELS))
    ((report.weights * given).mean() + (SHARE * other).mean()).backward()
    torch.optim.SGD(copy.parameters(), lr=RATE).step()
    for name, value in copy.state_dict().items():
        torch.testing.assert_close(module.state_dict()[name], value, rtol=1e-12, atol=1e-14)


def test_a_nan_under_suggested_labels_leaves_all_as_it_was() -> None:
    module, ((train, meta), _) = layered(True), data(2)
    reweighter = pair(module, engine="double")
    reweighter.step(train, meta)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    teacher = reweighter.teacher
    teacher.share = SHARE * float("nan")
    with pytest.raises(mw.NonFiniteError, match="share of the suggested label"):
        reweighter.step(train, meta)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_what_cannot_move_is_refused_when_it_is_built() -> None:
    with pytest.raises(ValueError, match=r"suggests none: it gives weights alone; 'jury'"):
        pair(layered(True), ByLoss().double())
    with pytest.raises(ValueError, match="unroll=1, got 2"):
        pair(layered(True), engine="higher", unroll=2)
    with pytest.raises(ValueError, match="this engine knows nothing"):
        pair(layered(True), engine="implicit")
    with pytest.raises(ValueError, match="relabel=True moves labels too: call step"):
        pair(layered(True)).weigh(*data(1)[0])


def test_suggestions_that_do_not_fit_a_batch_are_refused() -> None:
    teacher = Suggesting().double()
    teacher.share = SHARE[:4]
    with pytest.raises(ValueError, match=r"share has one number a unit, shape \(6,\), got \(4,\)"):
        pair(layered(True), teacher).step(*data(1)[0])
