"""Losses [U] of targets that are no single class: soft, one logit, several labels, numbers, pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from metaweight.core.reads import doubt
from metaweight.student.losses.base import (
    check_labels,
    of_logits,
    of_targets,
    require_classes,
    require_logits,
)
from metaweight.student.losses.rows import cross_entropy_of_rows


@of_logits
@of_targets("soft")
def soft_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """-Σ_c targets_c log p_c: logits [U, C], a distribution of classes for each sample [U, C] -> [U] in nats.

    As torch's cross_entropy with probabilities.  Raises TypeError for integers, ValueError for other shapes.
    """
    require_logits(outputs)
    if not targets.is_floating_point():
        raise TypeError(
            f"soft targets are floating numbers [U, C], got {targets.dtype}; class labels have "
            "metaweight.losses.cross_entropy"
        )
    _require_shape(outputs, targets, "soft targets")
    if outputs.dim() != 2:
        raise ValueError(f"soft targets belong to logits [U, C], got {tuple(outputs.shape)}")
    return cross_entropy_of_rows(outputs, targets.to(outputs.dtype))


@of_logits
@of_targets("several")
def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of yes-or-no questions: one logit a unit [U] or [U, 1], or several [U, L] -> [U].

    ``targets`` [U] or as the logits, in 0..1, of any type.  As torch's binary_cross_entropy_with_logits.
    Raises ValueError for other shapes and, on the CPU, for targets outside 0..1.
    """
    logits, truth = _columns(outputs, targets, "binary targets")

    def fail() -> None:
        raise ValueError(
            f"binary targets lie in 0..1, got {float(truth.min()):g} to {float(truth.max()):g}; for -1 and 1 "
            "give (targets + 1) / 2"
        )

    if truth.device.type == "cpu":
        doubt(~((truth >= 0) & (truth <= 1)).all(), fail)
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=1)


@of_logits
@of_targets("number")
def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of a unit's numbers: outputs [U], [U, 1] or [U, D] -> [U].

    ``targets`` [U] or as the outputs.  As torch's mse_loss, but shapes are never broadcast.  Raises
    ValueError for other shapes.
    """
    values, truth = _columns(outputs, targets, "numbers")
    return F.mse_loss(values, truth, reduction="none").mean(dim=1)


@of_logits
@dataclass(frozen=True)
class PixelCrossEntropy:
    """Cross-entropy of a label for each pixel: logits [U, C, H, W], labels [U, H, W] -> loss and size [U].

    ``size``: pixels that count, those whose label is not ``ignore_index``.  Sums over an image are scaled by
    U / (all that count), so that the mean of loss is torch's cross_entropy of the batch.
    Raises ValueError for other shapes, a label outside 0..C-1, or a batch where nothing counts.
    """

    ignore_index: int = -100

    def __call__(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and size of each image."""
        require_logits(outputs)
        if outputs.dim() < 3 or targets.shape != (len(outputs), *outputs.shape[2:]):
            shapes = f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
            raise ValueError(f"pixels have logits [U, C, H, W] and labels [U, H, W], got {shapes}")
        require_classes(targets, "[U, ...]")
        real = targets != self.ignore_index
        size = real.flatten(1).sum(dim=1)

        def fail() -> None:
            raise ValueError(f"a batch holds at least one pixel that counts, got {self.ignore_index} only")

        doubt(~size.any(), fail)
        if targets.device.type == "cpu":
            check_labels(targets[real], outputs.shape[1])
        each = cross_entropy_of_rows(outputs, targets, ignore_index=self.ignore_index)
        summed = each.flatten(1).sum(dim=1)
        return summed * len(targets) / size.sum(), size.to(torch.result_type(summed, 1.0))


@of_logits
def pixel_cross_entropy(
    outputs: Tensor, targets: Tensor, *, ignore_index: int = -100
) -> tuple[Tensor, Tensor]:
    """``PixelCrossEntropy`` as a function."""
    return PixelCrossEntropy(ignore_index)(outputs, targets)


def _columns(outputs: Tensor, targets: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """Both as [U, L] in the outputs' type: a vector is a column."""
    require_logits(outputs)
    values, truth = (value[:, None] if value.dim() == 1 else value for value in (outputs, targets))
    _require_shape(values, truth, what)
    return values.flatten(1), truth.flatten(1).to(values.dtype)


def _require_shape(outputs: Tensor, targets: Tensor, what: str) -> None:
    if outputs.shape != targets.shape:
        shapes = f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
        raise ValueError(f"{what} have the outputs' shape, got outputs and targets {shapes}")
