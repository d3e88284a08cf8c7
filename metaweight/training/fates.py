"""What became of wrong labels: were they learnt by heart, or seen through?"""

from __future__ import annotations

import torch
from torch import Tensor

from metaweight.core.records import Record

HEADINGS = {
    "learnt": "learnt by heart, %",
    "corrected": "right class said, %",
    "other": "a third class said, %",
    "kept": "right labels said, %",
    "weight": "share of the weight, %",
}
"""Share of ``Fates`` -> the heading of its column."""


class Fates(Record, frozen=True):
    """What the student says at the end of the training samples with wrong labels: shares in [0, 1]."""

    learnt: float
    """It gives the wrong label back: learnt by heart."""
    corrected: float
    """It says the right class."""
    kept: float | None
    """Share of the right labels that it gives back; None where there are none."""
    weight: float | None
    """Share of the wrong labels in the sum of the mean weights; None where no sample has one."""

    @property
    def other(self) -> float:
        """It says a third class."""
        return max(0.0, 1 - self.learnt - self.corrected)


def fates(predicted: Tensor, given: Tensor, clean: Tensor, weights: Tensor) -> Fates | None:
    """Of n training samples; None where no label is wrong.

    ``predicted``, ``given``, ``clean``: [n] classes.  ``weights``: [n], mean weights, NaN where a sample was
    never seen.  Raises ValueError for other shapes.
    """
    if predicted.dim() != 1 or not predicted.shape == given.shape == clean.shape == weights.shape:
        shapes = ", ".join(str(tuple(v.shape)) for v in (predicted, given, clean, weights))
        raise ValueError(f"predicted, given, clean and weights are all [n], got {shapes}")
    wrong = given != clean
    if not bool(wrong.any()):
        return None
    means = weights.double().nan_to_num(0.0)
    total = float(means.sum())
    return Fates(
        learnt=_share(predicted[wrong] == given[wrong]),
        corrected=_share(predicted[wrong] == clean[wrong]),
        kept=None if bool(wrong.all()) else _share(predicted[~wrong] == given[~wrong]),
        weight=float(means[wrong].sum()) / total if total > 0 else None,
    )


def _share(mask: Tensor) -> float:
    return float(mask.to(torch.float64).mean())
