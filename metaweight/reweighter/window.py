"""A window of K real steps: its batches, and what is reported of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metaweight.core.contracts import Batch, StepReport, StudentState
from metaweight.core.weights import weight_summary
from metaweight.teachers.inputs import unit_loss


@dataclass(frozen=True)
class Seen:
    """What one real step was taken with."""

    state: StudentState
    weights: Tensor
    """[U], detached."""


def checked_window(train: Batch | Sequence[Batch], unroll: int) -> tuple[Batch, ...]:
    """One batch or up to ``unroll`` of them; raises TypeError and ValueError for anything else."""
    batches = (train,) if isinstance(train, Batch) else train
    if not isinstance(batches, list | tuple) or not all(isinstance(one, Batch) for one in batches):
        raise TypeError(f"step takes one Batch or a list of them, got {type(train).__name__}")
    if not 1 <= len(batches) <= unroll:
        raise ValueError(f"step takes 1 to {unroll} batches, as unroll={unroll} says, got {len(batches)}")
    return tuple(batches)


@torch.no_grad()
def reported(steps: Sequence[Seen], meta_loss: float | None, stats: Mapping[str, float]) -> StepReport:
    """One report of all steps, one after the other."""
    weights = torch.cat([seen.weights for seen in steps])
    sizes = sum(float(seen.state.size.sum()) for seen in steps)
    return StepReport(
        weights,
        torch.cat([unit_loss(seen.state) for seen in steps]),
        sum(float(seen.state.loss.mean()) for seen in steps) / len(steps),
        meta_loss,
        {**stats, **weight_summary(weights), "size": sizes},
        torch.cat([seen.state.index for seen in steps]),
    )
