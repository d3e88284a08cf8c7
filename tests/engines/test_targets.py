"""Soft targets, one logit, several labels, numbers and pixels in every engine, and a teacher end to end."""

from __future__ import annotations

import pytest
import torch
from slowly import covering
from students import STEP_ENGINES, agreement, engine_for
from target_kinds import KINDS, first_loss, kind_batch, kind_student
from torch import nn

import metaweight as mw
from metaweight.testing.oracles import RealSteps, relative

WEIGHTS = torch.tensor([0.5, 1.5, 1.0, 0.7, 1.2, 0.9], dtype=torch.float64)


@pytest.mark.parametrize("engine", STEP_ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_engine_equals_central_differences(engine: str, kind: str) -> None:
    student = kind_student(kind)
    optimizer = torch.optim.SGD(student.module.parameters(), lr=0.5)
    train, meta = kind_batch(kind, 6, 1), kind_batch(kind, 5, 2)
    steps = RealSteps(student, optimizer, [train], meta, loss=first_loss(kind))
    w = WEIGHTS.clone().requires_grad_()
    chosen = engine_for(engine, optimizer)
    result = mw.hypergradient(student, optimizer, train, meta, lambda _s: w, [w], chosen)
    assert relative(result.grads[0], steps.slopes([WEIGHTS])[0]) <= agreement(engine, 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_mw_net_steps_end_to_end(kind: str) -> None:
    student = kind_student(kind, taps=("0",))
    spec = student.spec(kind_batch(kind, 6, 1), samples=1000)
    assert not spec.labels
    teacher = mw.build_teacher("mw-net", spec=spec)
    optimizer = torch.optim.SGD(student.module.parameters(), lr=0.3)
    reweighter = mw.Reweighter(student, teacher, optimizer=optimizer)
    train, meta = kind_batch(kind, 6, 1), kind_batch(kind, 5, 2)
    reports = [reweighter.step(train, meta) for _ in range(30)]
    assert reports[-1].train_loss < reports[0].train_loss
    assert float(reports[-1].weights.std()) > 1e-4  # it has learnt something, too
    l2rw = mw.Reweighter(student, mw.build_teacher("l2rw", spec=spec), optimizer=optimizer)
    # of the same rows at least one helps
    assert float(l2rw.step(train, train).weights.mean()) == pytest.approx(1)


NAMES = mw.teachers.names()
LABELLED = ["surface", "mlp", "memory", "knn", "attention", "recall", "focal", "class-balanced", "cmw-net"]
REFUSED = {
    "soft": {"class-balanced", "cmw-net"},
    "one-logit": {"cmw-net"},
    "one-logit-flat": {"cmw-net"},
    "multi-label": {"cmw-net"},
    "number": {"focal", "class-balanced", "cmw-net"},
    "numbers": {"focal", "class-balanced", "cmw-net"},
    "pixels": {*LABELLED, "evidence", "jury"},
}
WHAT = {"soft": "soft labels", "number": "numbers", "numbers": "numbers"}


@pytest.mark.parametrize(("name", "kind"), covering(NAMES, KINDS))
def test_a_teacher_weighs_targets_of_a_kind_or_says_that_it_cannot_when_it_is_built(
    name: str, kind: str
) -> None:
    student = kind_student(kind, taps=("0",))
    spec = student.spec(kind_batch(kind, 6, 1), samples=1000)
    if name in REFUSED[kind]:
        told = "none that is known" if kind == "pixels" else WHAT.get(kind, "answers to yes-or-no questions")
        with pytest.raises(ValueError, match=rf"teacher '{name}' reads class labels.*{told}.*'mw-net' and"):
            mw.build_teacher(name, spec=spec)
        return
    optimizer = torch.optim.SGD(student.module.parameters(), lr=0.1)
    reweighter = mw.Reweighter(student, mw.build_teacher(name, spec=spec), optimizer=optimizer)
    # batches of one and of many, and weights after the teacher has seen trusted rows
    for size in (8, 1, 5):
        report = reweighter.step(kind_batch(kind, size, 1), kind_batch(kind, 8, 2))
        assert report.weights.shape == (size,)


@pytest.mark.parametrize("name", LABELLED)
def test_and_say_so_where_there_are_no_logits(name: str) -> None:
    student = mw.Student(
        _Two(nn.Linear(4, 3).double()),
        loss=lambda out, y: out["a"].square().mean(1) + out["b"].mean(1),
        taps=("inner",),
    )
    batch = mw.Batch((torch.randn(6, 4).double(),), torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6))
    spec = student.spec(batch, samples=10)
    assert spec.classes == 0
    if name == "knn":  # votes on labels alone
        assert mw.build_teacher(name, spec=spec).k == 10
    else:
        with pytest.raises(ValueError, match=r"the student gives no logits; name them.*'mw-net'"):
            mw.build_teacher(name, spec=spec)


class _Two(nn.Module):
    """Two outputs, none of which stands out."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"a": self.inner(x), "b": -self.inner(x)}


def test_float_targets_that_come_later_are_refused_too() -> None:
    student = mw.Student(nn.Linear(4, 3), loss=lambda out, y: out.square().mean(1))
    batch = mw.Batch((torch.randn(6, 4),), torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6))
    teacher = mw.build_teacher("focal", spec=student.spec(batch))
    later = student(mw.Batch(batch.inputs, batch.targets.float(), batch.index)).state()
    with pytest.raises(ValueError, match=r"one class label .*torch\.float32.*'mw-net'"):
        teacher(later)


class Contrastive(nn.Module):
    """Each row is to find itself among the rows of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.left(x) @ self.right(x).T


def _rows(size: int, seed: int) -> mw.Batch:
    x = torch.randn(size, 4, generator=torch.Generator().manual_seed(seed)).double()
    return mw.Batch((x,), torch.arange(size), torch.arange(size))


def test_places_in_the_batch_are_no_labels() -> None:
    torch.manual_seed(0)
    student = mw.Student(Contrastive().double(), taps=("left",))
    spec = student.spec(_rows(5, 1), samples=5)
    assert not spec.labels
    with pytest.raises(ValueError, match="places in the batch, as a contrastive loss has them"):
        mw.build_teacher("knn", spec=spec)
    teacher = mw.build_teacher("mw-net", spec=spec)
    optimizer = torch.optim.SGD(student.module.parameters(), lr=0.1)
    by_class = mw.Reweighter(student, teacher, optimizer=optimizer, center="class")
    with pytest.raises(ValueError, match=r"center='class'.*places in the batch"):
        by_class.step(_rows(5, 1), _rows(5, 2))
    plain = mw.Reweighter(student, teacher, optimizer=optimizer)
    assert plain.step(_rows(5, 1), _rows(5, 2)).meta_loss is not None


def test_one_sample_of_each_class_in_order_is_not_taken_for_places() -> None:
    student = mw.Student(nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 5)).double(), taps=("0",))
    spec = student.spec(_rows(5, 1), samples=5)
    assert spec.labels
    assert mw.build_teacher("knn", spec=spec).tap == "0"
