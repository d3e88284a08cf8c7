"""How good a student is on trusted batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from metaweight.contracts import Batch
from metaweight.metrics.classification import accuracy
from metaweight.modes import evaluating
from metaweight.student import Student

Evaluate = Callable[[Student, Iterable[Batch]], Mapping[str, float]]
"""(student, batches) -> figures by name; leaves the student as it was."""


def evaluate(student: Student, batches: Iterable[Batch]) -> dict[str, float]:
    """Accuracy in percent and mean loss of the student in eval mode; leaves its mode as it was."""
    outputs, targets, losses = [], [], []
    with torch.no_grad(), evaluating(student.module):
        for batch in batches:
            forward = student(batch, taps=False)
            outputs.append(forward.outputs)
            targets.append(batch.targets)
            losses.append(forward.loss)
    return {
        "accuracy": accuracy(torch.cat(outputs), torch.cat(targets)),
        "loss": float(torch.cat(losses).mean()),
    }


def class_probabilities(student: Student, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Index [n] and softmax of the student's logits [n, C] in eval mode; leaves its mode as it was."""
    indices, says = [], []
    with torch.no_grad(), evaluating(student.module):
        for batch in batches:
            indices.append(batch.index)
            says.append(student(batch, taps=False).outputs.softmax(dim=-1))
    return torch.cat(indices), torch.cat(says)
