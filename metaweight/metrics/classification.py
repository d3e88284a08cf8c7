"""How often a classifier is right."""

from __future__ import annotations

import torch
from torch import Tensor


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
