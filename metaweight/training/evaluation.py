"""How good a student is on trusted batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from metaweight.core.contracts import Batch, Forward
from metaweight.core.modes import evaluating
from metaweight.student.student import Student

Evaluate = Callable[[Student, Iterable[Batch]], Mapping[str, float]]
"""(student, batches) -> figures by name; leaves the student as it was."""


def evaluate(student: Student, batches: Iterable[Batch]) -> dict[str, float]:
    """Accuracy in percent and mean loss of the student in eval mode; leaves its mode as it was."""
    outputs, targets, losses = outputs_of(student, batches)
    return {"accuracy": accuracy(outputs, targets), "loss": float(losses.mean())}


def outputs_of(student: Student, batches: Iterable[Batch]) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, targets and losses of the student in eval mode; leaves its mode as it was."""
    outputs, targets, losses = [], [], []
    with evaluating(student.module):
        for batch in batches:
            forward = without_taps(student, batch)
            outputs.append(forward.outputs)
            targets.append(batch.targets)
            losses.append(forward.loss)
    return torch.cat(outputs), torch.cat(targets), torch.cat(losses)


def without_taps(student: Student, batch: Batch) -> Forward:
    """A pass as the student stands, without graph and taps."""
    return student.without_graph(lambda: student(batch, taps=False))


def class_probabilities(student: Student, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Index [n] and softmax of the student's logits [n, C] in eval mode; leaves its mode as it was."""
    indices, says = [], []
    with evaluating(student.module):
        for batch in batches:
            indices.append(batch.index)
            says.append(without_taps(student, batch).outputs.softmax(dim=-1))
    return torch.cat(indices), torch.cat(says)


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of samples whose largest logit is the target's, in percent; a row with NaN counts as wrong.

    ``outputs``: [N, C] logits, ``targets``: [N].  Raises ValueError for other shapes or no sample.
    """
    right = (_predicted(outputs, targets) == targets) & ~outputs.isnan().any(dim=1)
    return 100 * int(right.sum()) / len(targets)


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
