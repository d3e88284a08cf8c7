"""Labels as people have them: whole numbers of any width and bool are classes, anything else is told."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import metaweight as mw


class Rows(Dataset[tuple[Any, Any]]):
    """Eight samples whose labels are 0 and 1 in turn, as ``label`` makes them."""

    def __init__(self, label: Callable[[int], Any]) -> None:
        self.label = label

    def __len__(self) -> int:
        return 8

    def __getitem__(self, position: int) -> tuple[Any, Any]:
        return torch.full((4,), float(position)), self.label(position % 2)


def batch(label: Callable[[int], Any]) -> mw.Batch:
    loader = DataLoader(mw.data.Indexed(Rows(label)), batch_size=8, collate_fn=mw.data.collate)
    made: mw.Batch = next(iter(loader))
    return made


LABELS: dict[str, Callable[[int], Any]] = {
    "int": int,
    "bool": bool,
    **{
        f"torch.{name}": functools.partial(torch.tensor, dtype=getattr(torch, name))
        for name in ("uint8", "int8", "int16", "int32", "int64", "bool", "uint16")
    },
    **{f"numpy.{name}": getattr(np, name) for name in ("uint8", "int16", "int32", "uint32", "bool_")},
    "array without dimensions": lambda k: np.array(k, dtype=np.int32),
}


@pytest.mark.parametrize("name", LABELS)
def test_whole_numbers_of_any_kind_are_classes(name: str) -> None:
    made = batch(LABELS[name])
    assert made.targets.dtype == torch.int64
    assert made.targets.tolist() == [0, 1] * 4
    module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    student = mw.Student(module, taps=("0",))
    teacher = mw.build_teacher("mlp", spec=student.spec(made))
    reweighter = mw.Reweighter(
        student,
        teacher,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
        teacher_optimizer=torch.optim.Adam(teacher.parameters()),
    )
    assert reweighter.step(made, made).weights.shape == (8,)


@pytest.mark.parametrize(
    ("label", "complaint"),
    [
        (lambda k: "ab"[k], r"got list of str; map labels to 0\.\.C-1 first"),
        (lambda k: np.str_("ab"[k]), r"map labels to 0\.\.C-1 first"),
        (lambda k: None, r"got a NoneType; map labels to 0\.\.C-1"),
    ],
)
def test_labels_that_are_no_numbers_are_told_how_to_become_some(label: Any, complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        batch(label)


def test_targets_of_several_shapes_are_told_so() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \[\(2,\), \(3,\)\]: pad them"):
        batch(lambda k: torch.zeros(2 + k))


@pytest.mark.parametrize(
    ("loss", "outputs", "targets"),
    [
        (mw.losses.cross_entropy, (4, 2), (4,)),
        (mw.losses.pixel_cross_entropy, (4, 2, 3), (4, 3)),
        (mw.losses.token_cross_entropy, (4, 3, 2), (4, 3)),
    ],
)
def test_a_batch_of_ones_own_has_classes_too(loss: Any, outputs: Any, targets: Any) -> None:
    logits = torch.randn(outputs, generator=torch.Generator().manual_seed(0))
    right = torch.ones(targets, dtype=torch.int64)
    own = mw.Batch((torch.zeros(4, 1),), right.to(torch.uint8), torch.arange(4)).targets
    expected, got = loss(logits, right), loss(logits, own)
    for one, other in zip(*((v if isinstance(v, tuple) else (v,)) for v in (expected, got)), strict=True):
        assert torch.equal(one, other)
    for wrong, word in ((right.bool(), r"write targets\.long"), (right.double(), "float64")):
        with pytest.raises(TypeError, match=word):
            loss(logits, wrong)


def test_other_targets_stay_as_they_are() -> None:
    for kind in (torch.float32, torch.bfloat16, torch.bool, torch.complex64):
        made = mw.Batch((torch.zeros(2, 1),), torch.ones(2, dtype=kind), torch.arange(2))
        assert made.targets.dtype == kind
