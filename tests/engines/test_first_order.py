"""Engine ``first-order``: ``ghost`` along a direction of low rank, held against gradients one by one."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metaweight as mw
from metaweight.core.reads import together
from metaweight.engines import build_engine
from metaweight.engines.base import Problem
from metaweight.engines.ghost import FirstOrder, FirstOrderWarning
from metaweight.engines.ghost import first_order as ours
from metaweight.engines.ghost.low_rank import pays, truncated
from metaweight.engines.watch import answer
from metaweight.testing.oracles import relative

WIDE, OUT = 24, 5


class Words(nn.Module):
    """Embeddings that are the output layer's weight too, a low-rank adapter, norms and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, WIDE)
        self.norm, self.rms = nn.LayerNorm(WIDE), nn.RMSNorm(WIDE)
        self.attention = nn.MultiheadAttention(WIDE, 2, batch_first=True)
        self.down, self.up = nn.Linear(WIDE, 3, bias=False), nn.Linear(3, WIDE, bias=False)
        self.out = nn.Linear(WIDE, 11)
        self.out.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        normed = self.norm(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        x = x + self.up(self.down(self.rms(x)).tanh())
        logits: Tensor = self.out(x).mean(1)
        return logits


def pictures() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, WIDE, 3, stride=2, padding=1),
        nn.GroupNorm(2, WIDE),
        nn.GELU(),
        nn.Conv2d(WIDE, 16, 3, dilation=2, padding=2),
        nn.Tanh(),
        nn.Conv2d(16, 16, 3, padding=1, groups=4),
        nn.Tanh(),
        nn.ConvTranspose2d(16, 6, 2, stride=2),
        nn.Flatten(),
        nn.Linear(6 * 36, 11),
    )


class Products(nn.Module):
    """Parameters that are multiplied from the right, [in, out]."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.randn(*s)) for s in ((7, WIDE), (WIDE, 11)))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.first).tanh() @ self.second


def table() -> nn.Module:
    return nn.Sequential(nn.Linear(7, WIDE), nn.Tanh(), nn.Linear(WIDE, WIDE), nn.Tanh(), nn.Linear(WIDE, 11))


STUDENTS = {"words": Words, "pictures": pictures, "table": table, "products": Products}


def batch(kind: str, units: int, seed: int) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    x = {
        "words": lambda: torch.randint(11, (units, OUT), generator=g),
        "pictures": lambda: torch.randn(units, 3, 6, 6, generator=g, dtype=torch.float64),
    }.get(kind, lambda: torch.randn(units, 7, generator=g, dtype=torch.float64))()
    return mw.Batch((x,), torch.randint(11, (units,), generator=g), torch.arange(units))


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


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut every weight that has thin products, however small, and say nothing of it."""
    monkeypatch.setattr(ours, "pays", lambda shape, rank, rows: rows > 0)
    monkeypatch.setattr(ours, "LEAST", -1.0)


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


def test_what_has_no_thin_products_is_never_cut(always: None) -> None:
    given = problem("pictures")
    _, whole = solved(FirstOrder(rank=None), given)
    _, direction = solved(FirstOrder(rank=1), given)
    same = {name for name in whole if torch.equal(direction[name], whole[name])}
    assert same == {*whole} - {"0.weight", "3.weight", "9.weight"}


@pytest.mark.parametrize("shape", [(9, 7), (7, 9), (6, 4, 3, 3)])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e20])
def test_a_matrix_of_low_rank_is_found_whole(shape: tuple[int, ...], scale: float) -> None:
    g = torch.Generator().manual_seed(1)
    rest = int(np.prod(shape[1:]))
    left, right = torch.randn(shape[0], 3, generator=g), torch.randn(3, rest, generator=g)
    matrix = (left @ right).view(shape) * scale
    found = truncated(matrix, 3)
    assert relative(found.dense.double(), matrix.double()) < 1e-5
    torch.testing.assert_close(found.left.t() @ found.left, torch.eye(3))


def test_of_others_the_part_is_a_projection_nearly_as_good_as_the_best() -> None:
    g = torch.Generator().manual_seed(2)
    matrix = torch.randn(40, 30, generator=g, dtype=torch.float64)
    matrix = matrix * torch.logspace(0, -3, 30, dtype=torch.float64)
    found = truncated(matrix, 6)
    torch.testing.assert_close(found.left @ (found.left.t() @ matrix), found.dense)
    values = np.linalg.svd(matrix.numpy(), compute_uv=False)
    best = np.linalg.norm(values[6:])
    assert best <= float((found.dense - matrix).norm()) < 1.2 * best
    assert torch.equal(found.dense, truncated(matrix, 6).dense)


def test_nothing_is_cut_of_nothing() -> None:
    assert truncated(torch.zeros(4, 5), 2).dense.abs().max() == 0


def test_what_pays() -> None:
    assert pays(torch.Size((256, 256)), 16, 2048)
    assert not pays(torch.Size((256, 256)), 16, 64)  # few rows
    assert not pays(torch.Size((256, 8)), 16, 10**6)  # thin anyway
    assert pays(torch.Size((50_000, 256)), 16, 2048)


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
    with pytest.raises(ValueError, match="cost is 'exact' or 'cheap', got 'free'"):
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
