"""A window of K real steps: its batches, what was taken, and what is reported of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from metaweight.core.contracts import Batch, StepReport, StudentState
from metaweight.core.parts import Part
from metaweight.core.weights import weight_summary
from metaweight.engines.gradient import HyperGradient
from metaweight.teachers.inputs import unit_loss


@dataclass(frozen=True)
class Seen:
    """What one real step was taken with."""

    state: StudentState
    weights: Tensor
    """[U], detached."""


@dataclass(frozen=True)
class Taken:
    """What one iteration took."""

    steps: Sequence[Seen]
    meta_loss: float | None = None
    """None where no meta pass ran."""
    stats: Mapping[str, float] = field(default_factory=dict)
    """The engine's own."""
    part: Part | None = None
    """Which units of a single step are this process's, where somebody else takes that step."""

    @classmethod
    def of(cls, steps: Sequence[Seen], result: HyperGradient, part: Part | None = None) -> Taken:
        """Steps that the teacher learnt by ``result`` for."""
        return cls(steps, float(result.meta_loss), result.stats, part)


def checked_window(train: Batch | Sequence[Batch], unroll: int) -> tuple[Batch, ...]:
    """One batch or up to ``unroll`` of them; raises TypeError and ValueError for anything else."""
    batches = (train,) if isinstance(train, Batch) else train
    if not isinstance(batches, list | tuple) or not all(isinstance(one, Batch) for one in batches):
        got = type(train).__name__
        if isinstance(train, list | tuple):
            got += f" of {', '.join(sorted({type(one).__name__ for one in train}))}"
        raise TypeError(
            f"step takes one Batch or a list of them, got {got}: where a DataLoader made it, give that "
            "collate_fn=metaweight.data.collate and metaweight.data.Indexed(dataset), or write "
            "metaweight.Batch((x,), targets, index)"
        )
    if not 1 <= len(batches) <= unroll:
        raise ValueError(f"step takes 1 to {unroll} batches, as unroll={unroll} says, got {len(batches)}")
    return tuple(batches)


@torch.no_grad()
def reported(taken: Taken) -> StepReport:
    """One report of all steps, one after the other."""
    steps = taken.steps
    weights = torch.cat([step.weights for step in steps])
    sizes = sum(float(step.state.size.sum()) for step in steps)
    return StepReport(
        weights,
        torch.cat([unit_loss(step.state) for step in steps]),
        sum(float(step.state.loss.mean()) for step in steps) / len(steps),
        taken.meta_loss,
        {**taken.stats, **weight_summary(weights), "size": sizes},
        torch.cat([step.state.index for step in steps]),
    )
