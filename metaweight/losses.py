"""Losses per unit: what gets a weight has a loss of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

UnitLoss = Callable[[Any, Tensor], "Tensor | tuple[Tensor, Tensor]"]
"""(outputs, targets) -> loss [U], or (loss [U], size [U]); the mean of loss is the ordinary loss."""


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each sample: logits [U, C], labels [U] int64 -> [U] in nats.

    Raises ValueError where a label lies outside 0..C-1.
    """
    classes = outputs.shape[-1]
    if targets.device.type == "cpu":  # elsewhere the check would wait for the device at each step
        check_labels(targets, classes)
    return F.cross_entropy(outputs, targets, reduction="none")


def check_labels(labels: Tensor, classes: int) -> None:
    """Raise ValueError unless every label lies in 0..classes-1."""
    wrong = ((labels < 0) | (labels >= classes)).nonzero().flatten()
    if len(wrong):
        at = ", ".join(f"{int(labels[i])} at position {int(i)}" for i in wrong[:3])
        raise ValueError(
            f"labels run from 0 to {classes - 1}, got {at} ({len(wrong)} in all); "
            "map the labels to 0..C-1, or give the student more outputs"
        )


def token_cross_entropy(outputs: Tensor, targets: Tensor, *, padding: int = 0) -> tuple[Tensor, Tensor]:
    """Cross-entropy summed over each sentence's real tokens: logits [U, T, V], targets [U, T] int64.

    Returns loss [U] and size [U] (real tokens).  Sums are scaled by U / (all real tokens), so that the
    mean of loss is the token-mean cross-entropy of the batch.  Raises ValueError if all is padding.
    """
    real = targets != padding
    size = real.sum(dim=1)
    tokens = size.sum()
    if not bool(tokens):
        raise ValueError(f"a batch holds at least one real token, got padding ({padding}) only")
    flat = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
    summed = (flat.view_as(targets) * real).sum(dim=1)
    # in this order: the quotient of two integer tensors would be a float32
    return summed * len(targets) / tokens, size.to(torch.result_type(summed, 1.0))
