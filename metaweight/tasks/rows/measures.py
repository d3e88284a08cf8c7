"""How good a student of rows is: a function for each kind of target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.data.rows import Targets
from metaweight.student.student import Student
from metaweight.training.evaluation import Evaluate, accuracy, evaluate, outputs_of

MAIN: Mapping[str, str] = {
    "classes": "accuracy",
    "one-logit": "accuracy",
    "number": "r2",
    "several": "f1",
    "tokens": "f1",
}
"""Kind of target -> the figure that counts."""


def measure(targets: Targets) -> Evaluate:
    """(student, batches) -> figures: loss, and accuracy (classes), r2 and rmse (numbers) or f1 (several)."""

    def figures(student: Student, batches: Iterable[Batch]) -> Mapping[str, float]:
        outputs, truth, losses = outputs_of(student, batches)
        return {**_MEASURES[targets.kind](outputs, truth, targets), "loss": float(losses.mean())}

    return evaluate if targets.kind == "classes" else figures


def of_numbers(outputs: Tensor, truth: Tensor, targets: Targets) -> dict[str, float]:
    """R² and the root of the mean squared error in the user's units; R² of equal numbers is NaN."""
    exact = truth.double()
    error = (outputs.flatten().double() - exact).square().mean()
    spread = (exact - exact.mean()).square().mean()
    return {
        "r2": 1 - float(error / spread) if float(spread) else float("nan"),
        "rmse": float(error.sqrt()) * targets.scale,
    }


def of_labels(outputs: Tensor, truth: Tensor, targets: Targets) -> dict[str, float]:
    """F1 over all labels of all rows, in percent; 100 where there is none to find and none is said."""
    said, there = outputs > 0, truth > 0.5
    hits, wrong = int((said & there).sum()), int((said ^ there).sum())
    return {"f1": 200 * hits / (2 * hits + wrong) if hits + wrong else 100.0}


def of_one_logit(outputs: Tensor, truth: Tensor, targets: Targets) -> dict[str, float]:
    """Accuracy in percent."""
    return {"accuracy": accuracy(two_logits(outputs), truth.long())}


def two_logits(outputs: Tensor) -> Tensor:
    """One logit [n, 1] as those of two classes [n, 2]."""
    return torch.cat([torch.zeros_like(outputs), outputs], dim=1)


_MEASURES = {"number": of_numbers, "several": of_labels, "one-logit": of_one_logit}
