"""Mistakes around a step: what is given, where it is called, a NaN, and what cannot be pickled."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metaweight as mw


def batch(size: int, seed: int) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 4, generator=g)
    return mw.Batch((x,), torch.randint(0, 3, (size,), generator=g), torch.arange(size) + 10)


def made(*after: nn.Module, engine: str = "auto", teacher: str = "mw-net") -> mw.Reweighter:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 5), *after, nn.Tanh(), nn.Linear(5, 3))
    student = mw.Student(module)
    built = mw.build_teacher(teacher, spec=student.spec(batch(6, 1)))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    return mw.Reweighter(student, built, optimizer=optimizer, engine=engine)


def test_a_module_is_no_student() -> None:
    module = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    teacher = made().teacher
    with pytest.raises(TypeError, match=r"got the module Linear: write metaweight\.Student\(module"):
        mw.Reweighter(module, teacher, optimizer=optimizer)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got the module Linear"):
        mw.hypergradient(module, optimizer, batch(6, 1), batch(6, 2), teacher, [])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes a torch module, got the class Linear"):
        mw.Student(nn.Linear)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("mw-net", r"the name 'mw-net': write metaweight\.build_teacher\('mw-net', spec=student\.spec"),
        (mw.teachers.registry["mw-net"], "the class MWNet: build one"),
        (nn.Linear(1, 1), "a subclass of metaweight.Teacher, got Linear"),
    ],
)
def test_a_name_is_no_teacher(teacher: Any, message: str) -> None:
    student = made().student
    optimizer = torch.optim.SGD(student.module.parameters(), lr=0.1)
    with pytest.raises(TypeError, match=message):
        mw.Reweighter(student, teacher, optimizer=optimizer)


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_a_step_needs_gradients(around: Callable[[], Any]) -> None:
    reweighter = made()
    with around(), pytest.raises(ValueError, match=rf"torch\.{around.__name__}\(\) forbids"):
        reweighter.step(batch(6, 1), batch(6, 2))
    reweighter.step(batch(6, 1), batch(6, 2))


def test_what_a_loader_gives_without_collate_is_no_batch() -> None:
    one = batch(6, 1)
    with pytest.raises(TypeError, match=r"got list of Tensor: .*collate_fn=metaweight.data.collate"):
        made().step([one.args[0], one.targets], batch(6, 2))  # type: ignore[arg-type]


def test_a_student_in_eval_mode_is_told_so_once() -> None:
    reweighter = made(nn.Dropout(0.1))
    reweighter.student.module.eval()
    with pytest.warns(UserWarning, match=r"trains in eval mode.*module\.train\(\)") as seen:
        reweighter.step(batch(6, 1), batch(6, 2))
    assert len(seen) == 1
    reweighter.step(batch(6, 1), batch(6, 2))  # a second warning would be an error
    other = made(nn.BatchNorm1d(5))
    other.student.module[1].eval()  # a part may be
    other.step(batch(6, 1), batch(6, 2))


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
@pytest.mark.parametrize("place", ["train", "meta"])
@pytest.mark.parametrize("bad", [float("nan"), 1e38])
def test_a_nan_that_batchnorm_spreads_is_traced_to_its_row(schedule: str, place: str, bad: float) -> None:
    reweighter = made(nn.BatchNorm1d(5))
    reweighter = mw.Reweighter(
        reweighter.student, reweighter.teacher, optimizer=reweighter.optimizer, schedule=schedule
    )
    batches = {"train": batch(6, 1), "meta": batch(5, 2)}
    batches[place].args[0][3] = bad  # 1e38 is finite, but the layer before the norm overflows
    if bad == 1e38:
        with torch.no_grad():
            reweighter.student.module[0].weight.fill_(1e3)
    before = copy.deepcopy(reweighter.student.module.state_dict())
    with pytest.raises(mw.NonFiniteError, match=r"1 of them are the cause \(index 13\)") as error:
        reweighter.step(batches["train"], batches["meta"])
    assert error.value.index is not None
    assert error.value.index.tolist() == [13]
    for name, value in reweighter.student.module.state_dict().items():
        assert torch.equal(value, before[name])


def test_where_the_student_is_broken_no_row_is_blamed() -> None:
    reweighter = made(nn.BatchNorm1d(5))
    with torch.no_grad():
        reweighter.student.module[-1].weight[0] = float("nan")
    with pytest.raises(mw.NonFiniteError, match="train loss of 6 of 6 samples") as error:
        reweighter.step(batch(6, 1), batch(6, 2))
    assert error.value.index is not None
    assert len(error.value.index) == 6


ENGINES = ["auto", "ghost", "double", "forward", "difference", "reverse", "higher"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_reweighter_can_be_pickled_and_copied(engine: str) -> None:
    reweighter = made(engine=engine)
    reweighter.step(batch(6, 1), batch(6, 2))
    others = [pickle.loads(pickle.dumps(reweighter)), copy.deepcopy(reweighter)]
    expected = reweighter.step(batch(6, 3), batch(6, 4))
    for other in others:
        report = other.step(batch(6, 3), batch(6, 4))
        assert torch.equal(report.weights, expected.weights)
        assert report.meta_loss == expected.meta_loss


def test_a_compiled_student_is_compiled_anew() -> None:
    module = nn.Linear(4, 3)
    student = mw.Student(module, execution=mw.Execution(compile="aot_eager"))
    other = pickle.loads(pickle.dumps(student))
    with torch.no_grad():
        other.module.weight.zero_()
    assert other.compiled is not None
    assert other.compiled is not student.compiled
    expected = F.cross_entropy(other.module(*batch(6, 1).args), batch(6, 1).targets, reduction="none")
    torch.testing.assert_close(other(batch(6, 1)).loss, expected)
    assert not torch.equal(student(batch(6, 1)).loss, expected)


@pytest.mark.parametrize(
    ("module", "inputs", "message"),
    [
        (nn.Linear(4, 3, device="meta"), torch.randn(6, 4), r"on meta, the batch on cpu: write batch\.to"),
        (nn.Linear(4, 3).bfloat16(), torch.randn(6, 4), r"torch\.bfloat16.*torch\.float32.*precision=\"bf16"),
        (nn.Linear(4, 3), torch.randn(6, 4).double(), r"parameters are torch\.float32.*torch\.float64"),
        (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), torch.randn(1, 4), "batch of 1.*drop_last=True"),
    ],
)
def test_a_pass_that_fails_is_explained(module: nn.Module, inputs: Tensor, message: str) -> None:
    one = mw.Batch((inputs,), torch.zeros(len(inputs)).long(), torch.arange(len(inputs)))
    with pytest.raises(ValueError, match=message):
        mw.Student(module).spec(one)
    with pytest.raises(ValueError, match=message):
        mw.Student(module)(one)
