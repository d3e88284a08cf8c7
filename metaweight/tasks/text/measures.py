"""How good a classifier of texts is, rare classes as much as common ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.student.student import Student
from metaweight.training.evaluation import accuracy, outputs_of


def measure_classes(student: Student, batches: Iterable[Batch]) -> Mapping[str, float]:
    """Accuracy and macro-F1 in percent, and the mean loss."""
    outputs, truth, losses = outputs_of(student, batches)
    return {
        "accuracy": accuracy(outputs, truth),
        "macro_f1": macro_f1(outputs, truth),
        "loss": float(losses.mean()),
    }


def macro_f1(outputs: Tensor, truth: Tensor) -> float:
    """The mean F1, in percent, of the classes that are said or there; as in ``accuracy`` NaN is never right.

    ``outputs``: [N, C] logits, ``truth``: [N] int64.
    """
    classes, said = outputs.shape[1], outputs.argmax(dim=1)
    right = (said == truth) & ~outputs.isnan().any(dim=1)
    hits = torch.bincount(truth[right], minlength=classes)
    named = torch.bincount(said, minlength=classes) + torch.bincount(truth, minlength=classes)
    return float((200 * hits[named > 0].double() / named[named > 0]).mean())
