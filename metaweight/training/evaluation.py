"""How good a student is on trusted batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from metaweight.core.contracts import Batch, Forward
from metaweight.core.modes import evaluating
from metaweight.student.student import Student
from metaweight.training.spread import told_of_each

T = TypeVar("T")
Evaluate = Callable[[Student, Iterable[Batch]], Mapping[str, float]]
"""(student, batches) -> figures by name; leaves the student as it was.

In several processes all are called and give the same: what iterates ``batches`` itself passes all of them in
each process, ``of_each`` shares them out.
"""


def evaluate(student: Student, batches: Iterable[Batch]) -> dict[str, float]:
    """Accuracy in percent and mean loss of the student in eval mode; leaves its mode as it was."""

    def found(batch: Batch) -> tuple[Tensor, Tensor]:
        forward = without_taps(student, batch)
        return right(forward.outputs, batch.targets), forward.loss

    correct, losses = map(torch.cat, zip(*of_each(student, batches, found), strict=True))
    return {"accuracy": 100 * int(correct.sum()) / len(correct), "loss": float(losses.mean())}


def outputs_of(student: Student, batches: Iterable[Batch]) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, targets and losses of the student in eval mode; leaves its mode as it was."""

    def found(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        forward = without_taps(student, batch)
        return forward.outputs, batch.targets, forward.loss

    outputs, targets, losses = map(torch.cat, zip(*of_each(student, batches, found), strict=True))
    return outputs, targets, losses


def of_each(student: Student, batches: Iterable[Batch], found: Callable[[Batch], T]) -> list[T]:
    """What ``found`` gives for each batch, in their order, with the student in eval mode; leaves its mode as
    it was.

    Of ``Spread`` batches each process finds its own and all are told; tensors in it are on the student's
    device.  Raises ValueError where there is no batch.
    """
    with evaluating(student.module):
        told = told_of_each(batches, found, student)
    if not told:
        raise ValueError("there is nothing to evaluate: give at least one batch")
    return told


def without_taps(student: Student, batch: Batch) -> Forward:
    """A pass as the student stands, without graph and taps."""
    return student.without_graph(lambda: student(batch, taps=False))


def class_probabilities(student: Student, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Index [n] and softmax of the student's logits [n, C] in eval mode; leaves its mode as it was."""

    def found(batch: Batch) -> tuple[Tensor, Tensor]:
        return batch.index, without_taps(student, batch).outputs.softmax(dim=-1)

    index, says = map(torch.cat, zip(*of_each(student, batches, found), strict=True))
    return index, says


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of samples whose largest logit is the target's, in percent; a row with NaN counts as wrong.

    ``outputs``: [N, C] logits, ``targets``: [N].  Raises ValueError for other shapes or no sample.
    """
    return 100 * int(right(outputs, targets).sum()) / len(targets)


def right(outputs: Tensor, targets: Tensor) -> Tensor:
    """Of which samples the largest logit is the target's, [N] bool.  As ``accuracy``."""
    return (_predicted(outputs, targets) == targets) & ~outputs.isnan().any(dim=1)


def confusion(outputs: Tensor, targets: Tensor) -> Tensor:
    """Counts [C, C], int64: row = target, column = predicted class.  Raises as ``accuracy``."""
    classes = outputs.shape[-1]
    cells = targets * classes + _predicted(outputs, targets)
    return torch.bincount(cells, minlength=classes**2).view(classes, classes)


def _predicted(outputs: Tensor, targets: Tensor) -> Tensor:
    if outputs.dim() != 2 or targets.shape != outputs.shape[:1] or len(targets) == 0:
        got = f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
        raise ValueError(f"outputs are [N, C] and targets [N] with N >= 1, got {got}")
    return outputs.argmax(dim=1)
