"""Engine ``first-order``: ``ghost`` along a direction of low rank, held against gradients one by one."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from thin_students import STUDENTS, WIDE, batch
from torch import Tensor

import metaweight as mw
from metaweight.core.reads import together
from metaweight.engines import build_engine
from metaweight.engines.base import Problem
from metaweight.engines.ghost import FirstOrder, FirstOrderWarning
from metaweight.engines.ghost import first_order as ours
from metaweight.engines.watch import answer
from metaweight.testing.oracles import relative


def problem(kind: str, optimizer: str = "SGD", *, seed: int = 0, parts: Any = None) -> Problem:
    if parts is None:
        torch.manual_seed(0)
        module = STUDENTS[kind]().double()
        options = {"momentum": 0.9} if optimizer == "SGD" else {"eps": 1e-3}
        steps = getattr(torch.optim, optimizer)(module.parameters(), lr=0.05, **options)
        F.cross_entropy(module(*batch(kind, 6, 99).inputs), batch(kind, 6, 99).targets).backward()
        steps.step()
        steps.zero_grad()
        parts = mw.Student(module), steps
    student, steps = parts
    weights = torch.linspace(0.2, 1.8, 6, dtype=torch.float64)
    return Problem(
        student,
        steps,
        (batch(kind, 6, seed),),
        batch(kind, 4, seed + 50),
        lambda _state: weights,
        check_every=1,
    )


def solved(engine: FirstOrder, given: Problem) -> Any:
    """With the direction that was used."""
    engine_direction: dict[str, Tensor] = {}
    own = engine.direction

    def keep(*args: Any) -> Any:
        meta, direction = own(*args)
        engine_direction.update(direction)
        return meta, direction

    engine.direction = keep  # type: ignore[method-assign]
    try:
        with torch.enable_grad(), together():
            solution = answer(engine, given)
    finally:
        del engine.direction
    return solution, engine_direction


def one_by_one(given: Problem, direction: dict[str, Tensor]) -> Tensor:
    """<direction, gradient of each sample's loss> / U, by a backward each."""
    student, (train,) = given.student, given.train
    named = dict(student.module.named_parameters())
    losses = F.cross_entropy(student.module(*train.inputs), train.targets, reduction="none")
    slopes = []
    for loss in losses:
        grads = torch.autograd.grad(loss, [*named.values()], retain_graph=True, allow_unused=True)
        pairs = zip(named, grads, strict=True)
        slopes.append(sum((direction[n] * g).sum() for n, g in pairs if g is not None and n in direction))
    return torch.stack([torch.as_tensor(slope) for slope in slopes]) / len(losses)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("kind", STUDENTS)
def test_without_a_cut_slopes_are_those_of_ghost_to_the_bit(kind: str, optimizer: str) -> None:
    given = problem(kind, optimizer)
    with torch.enable_grad(), together():
        exact = answer(build_engine("ghost"), given)
    solution, direction = solved(FirstOrder(rank=None), given)
    assert torch.equal(solution.slopes[0], exact.slopes[0])
    assert relative(solution.slopes[0], one_by_one(given, direction)) < 1e-13


@pytest.mark.parametrize("rank", [1, 3, WIDE])
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("kind", STUDENTS)
def test_slopes_are_those_along_the_cut_direction(kind: str, optimizer: str, rank: int, always: None) -> None:
    given = problem(kind, optimizer)
    engine = FirstOrder(rank)
    solution, direction = solved(engine, given)
    assert relative(solution.slopes[0], one_by_one(given, direction)) < 1e-13
    _, whole = solved(FirstOrder(rank=None), given)
    cut = [name for name in whole if not torch.equal(direction[name], whole[name])]
    assert cut  # something is cut
    for name, u in whole.items():
        rows = np.linalg.matrix_rank(direction[name].flatten(1).numpy(), tol=1e-10) if u.dim() > 1 else 0
        if name in cut:
            assert rows <= rank
        else:
            assert torch.equal(direction[name], u)
    if rank == WIDE:  # as many as there are
        exact = one_by_one(given, whole)
        assert relative(solution.slopes[0], exact) < 1e-12
        assert engine.cosines(given.student.module) == (pytest.approx(1.0),)


@pytest.mark.parametrize("kind", STUDENTS)
def test_in_bf16_slopes_are_those_of_ghost_in_bf16(kind: str, always: None) -> None:
    """To the bit without a cut; with one that takes nothing away as near as bf16 is to the exact ones."""

    def given(**execution: Any) -> Problem:
        torch.manual_seed(0)
        module = STUDENTS[kind]()
        student = mw.Student(module, execution=mw.Execution(**execution))
        exact = problem(kind, parts=(student, torch.optim.SGD(module.parameters(), lr=0.05)))
        float32 = [
            mw.Batch(tuple(v.float() if v.is_floating_point() else v for v in b.args), b.targets, b.index)
            for b in (*exact.train, exact.meta)
        ]
        weights = torch.linspace(0.2, 1.8, 6)
        return replace(exact, train=(float32[0],), meta=float32[1], weigh=lambda _state: weights)

    with torch.enable_grad(), together():
        full = answer(build_engine("ghost"), given()).slopes[0]
        half = answer(build_engine("ghost"), given(precision="bf16")).slopes[0]
    ours, wide = (solved(FirstOrder(rank), given(precision="bf16"))[0].slopes[0] for rank in (None, WIDE))
    assert torch.equal(ours, half)
    assert 1e-5 < relative(half, full) < 5e-2  # it did run in bf16
    assert relative(wide, full) < 5e-2


def test_what_has_no_thin_products_is_never_cut(always: None) -> None:
    given = problem("pictures")
    _, whole = solved(FirstOrder(rank=None), given)
    _, direction = solved(FirstOrder(rank=1), given)
    same = {name for name in whole if torch.equal(direction[name], whole[name])}
    assert same == {*whole} - {"0.weight", "3.weight", "9.weight"}


def test_an_old_direction_goes_on_until_it_is_made_anew(always: None) -> None:
    engine, given = FirstOrder(rank=2, refresh=3), problem("words")
    parts = given.student, given.optimizer
    directions, metas = [], []
    for number in range(5):
        now = problem("words", seed=number, parts=parts)
        solution, direction = solved(engine, now)
        assert relative(solution.slopes[0], one_by_one(now, direction)) < 1e-13
        assert solution.meta.loss.requires_grad is False or number % 3 == 0
        directions.append(direction)
        losses = F.cross_entropy(now.student.module(*now.meta.inputs), now.meta.targets)
        metas.append((float(solution.meta.losses.detach().mean()), float(losses.detach())))
    same = [all(torch.equal(directions[0][n], d[n]) for n in d) for d in directions]
    assert same == [True, True, True, False, False]
    assert all(torch.equal(directions[3][n], directions[4][n]) for n in directions[3])
    assert metas[1][0] == pytest.approx(metas[1][1], rel=1e-12)  # at theta, of this batch


def test_slopes_that_leave_the_exact_ones_are_given_up_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "pays", lambda shape, rank, rows: rows > 0)
    monkeypatch.setattr(ours, "LEAST", 1.0)
    engine, given = FirstOrder(rank=1), problem("words")
    with pytest.warns(FirstOrderWarning, match=r"rank=1 have a cosine of 0.*in batch 1: they are"):
        first, _ = solved(engine, given)
    with torch.enable_grad(), together():
        exact = answer(build_engine("ghost"), given)
    assert torch.equal(first.slopes[0], exact.slopes[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, _ = solved(engine, given)
    assert torch.equal(again.slopes[0], exact.slopes[0])
    (cosine,) = engine.cosines(given.student.module)
    assert 0 < cosine < 1


def test_the_cosine_is_measured_now_and_then(monkeypatch: pytest.MonkeyPatch, always: None) -> None:
    monkeypatch.setattr(ours, "MEASURED_EVERY", 2)
    engine, given = FirstOrder(rank=1, refresh=3), problem("table")
    for _ in range(5):
        _, used = solved(engine, given)
    _, whole = solved(FirstOrder(rank=None), given)
    cosines = engine.cosines(given.student.module)
    assert len(cosines) == 3
    own, exact = one_by_one(given, used), one_by_one(given, whole)
    assert cosines[-1] == pytest.approx(float(own @ exact / own.norm() / exact.norm()), rel=1e-9)
