"""What a trained student says of single samples."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.core.weights import group_means
from metaweight.student.student import Student
from metaweight.teachers.inputs import unit_loss
from metaweight.training.evaluation import of_each, without_taps


def token_losses(student: Student, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Each sample's loss per target in eval mode: its index [n] int64 and the loss [n] float64.

    An image has one target; of the tokens of a sentence it is the mean.
    """

    def found(batch: Batch) -> tuple[Tensor, Tensor]:
        forward = without_taps(student, batch)
        own = batch.index.sort().values
        place = torch.searchsorted(own, forward.index)
        values = unit_loss(forward.state()).double()
        return own, group_means(values, place, len(batch))

    index, losses = map(torch.cat, zip(*of_each(student, batches, found), strict=True))
    return index.cpu(), losses.cpu()


def by_position(index: Tensor, values: Tensor, positions: Tensor) -> Tensor:
    """Rows of ``values`` [n, ...] of the samples ``index`` [n], in the order of ``positions`` [n]."""
    order = index.argsort()
    return values[order[torch.searchsorted(index[order], positions)]]
