"""Losses of sequences, where a unit is a sentence or a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from metaweight.core.contracts import Units
from metaweight.core.reads import doubt
from metaweight.student.losses.base import check_labels, of_logits, pooled, require_classes
from metaweight.student.losses.rows import cross_entropy_of_rows


@pooled
@of_logits
def token_cross_entropy(
    outputs: Tensor, targets: Tensor, *, padding: int = 0, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Cross-entropy summed over each sentence's real tokens: logits [U, T, V], targets [U, T] int64.

    Returns loss [U] and size [U] (real tokens).  Sums are scaled by U / (all real tokens), so that the
    mean of loss is the token-mean cross-entropy of the batch.  ``smoothing``: as torch's label_smoothing.
    Raises ValueError for other shapes, a real token outside 0..V-1, or if all is padding.
    """
    _, size = real_tokens(outputs, targets, padding)
    flat = cross_entropy_of_rows(
        outputs.flatten(0, 1), targets.flatten(), ignore_index=padding, smoothing=smoothing
    )
    summed = flat.view_as(targets).sum(dim=1)
    # in this order: the quotient of two integer tensors would be a float32
    return summed * len(targets) / size.sum(), size.to(torch.result_type(summed, 1.0))


def real_tokens(outputs: Tensor, targets: Tensor, padding: int) -> tuple[Tensor, Tensor]:
    """Which targets [B, T] of logits [B, T, V] are real, [B, T] bool, and how many in each row, [B] int64.

    Raises ValueError for other shapes, a real token outside 0..V-1, or if all is padding.
    """
    require_classes(targets, "[B, T]")
    if outputs.dim() != 3 or outputs.shape[:2] != targets.shape:
        shapes = f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
        raise ValueError(f"sequences have logits [B, T, V] and targets [B, T], got {shapes}")
    real = targets != padding
    size = real.sum(dim=1)

    def fail() -> None:
        raise ValueError(f"a batch holds at least one real token, got padding ({padding}) only")

    doubt(~size.any(), fail)
    if targets.device.type == "cpu":
        check_labels(targets[real], outputs.shape[-1])
    return real, size


TextUnit = Literal["sentence", "token"]


@of_logits
@dataclass(frozen=True)
class TokenCrossEntropy:
    """Cross-entropy of sequences, where a unit is a sentence or a token; the mean is per real token.

    Logits [B, T, V], targets [B, T] int64 -> Units with U = B (``token_cross_entropy``), or U = real
    tokens, each with its own cross-entropy and size 1.  ``smoothing``: share of the target's probability
    spread over all V, as torch's label_smoothing.  Raises ValueError for an unknown unit, a smoothing
    outside [0, 1), a batch of padding only, or a sentence of padding only that should be a unit.
    """

    padding: int = 0
    smoothing: float = 0.0
    unit: TextUnit = "sentence"

    def __post_init__(self) -> None:
        if self.unit not in get_args(TextUnit):
            raise ValueError(f"a unit of text is {' or '.join(get_args(TextUnit))}, got {self.unit!r}")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing lies in [0, 1), got {self.smoothing}")

    def __call__(self, outputs: Tensor, targets: Tensor) -> Units:
        """Units of a batch."""
        if self.unit == "sentence":
            loss, size = token_cross_entropy(outputs, targets, padding=self.padding, smoothing=self.smoothing)
            doubt(~size.all(), lambda: _refuse_empty(size))
            return Units(loss, size, targets != self.padding, pooled=True)
        real, _ = real_tokens(outputs, targets, self.padding)
        where = real.flatten().nonzero().squeeze(1)
        loss = cross_entropy_of_rows(
            outputs.flatten(0, 1), targets.flatten()[where], where=where, smoothing=self.smoothing
        )
        return Units(loss, torch.ones_like(loss.detach()), real, each_token=True)


def _refuse_empty(size: Tensor) -> None:
    empty = (size == 0).nonzero().flatten().tolist()
    raise ValueError(
        "a sentence as a unit holds at least one real token, got padding only in rows "
        f"{empty[:3]} ({len(empty)} in all); leave them out of the data"
    )
