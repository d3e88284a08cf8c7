"""A window of K real steps: its batches, what was taken, and what is reported of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from metaweight.core.contracts import Batch, StepReport, StudentState
from metaweight.core.parts import Part
from metaweight.core.reads import Numbers
from metaweight.core.weights import weight_summary
from metaweight.engines.gradient import HyperGradient
from metaweight.reweighter.relabelling import NOTHING, Moved
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
    meta_loss: Tensor | None = None
    """A single number; None where no meta pass ran."""
    stats: Mapping[str, float] = field(default_factory=dict)
    """The engine's own."""
    part: Part | None = None
    """Which units of a single step are this process's, where somebody else takes that step."""
    moved: Moved = NOTHING
    """What labels that move added to a single step."""

    @classmethod
    def of(
        cls, steps: Sequence[Seen], result: HyperGradient, part: Part | None = None, moved: Moved = NOTHING
    ) -> Taken:
        """Steps that the teacher learnt by ``result`` for."""
        return cls(steps, result.meta_loss, result.stats, part, moved)


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
def reported(taken: Taken) -> UnreadReport:
    """One report of all steps, one after the other."""
    steps = taken.steps
    weights = torch.cat([step.weights for step in steps])
    sizes = _sum([step.state.size.sum() for step in steps])
    stats = {**_unread(taken.stats), **weight_summary(weights).unread(), "size": sizes}
    if taken.moved.share is not None:
        stats["moved"] = taken.moved.share
    losses = {"train_loss": _sum([step.state.loss.mean() for step in steps]) / len(steps)}
    if taken.meta_loss is not None:
        losses["meta_loss"] = taken.meta_loss
    return UnreadReport.of(
        weights,
        torch.cat([unit_loss(step.state) for step in steps]),
        torch.cat([step.state.index for step in steps]),
        Numbers({**stats, **losses}),
        tuple(stats),
    )


class UnreadReport(StepReport):
    """A report whose numbers stay on the device until one of them is asked for."""

    numbers: Numbers
    """All of them, ``train_loss`` and ``meta_loss`` too."""

    @staticmethod
    def of(
        weights: Tensor, losses: Tensor, index: Tensor, numbers: Numbers, stats: Sequence[str]
    ) -> UnreadReport:
        """From tensors [U], and the names of those numbers that are ``stats``."""
        report = object.__new__(UnreadReport)
        known = {"weights": weights, "losses": losses, "index": index, "numbers": numbers}
        for name, value in {**known, "stats": Numbers(numbers, stats)}.items():
            object.__setattr__(report, name, value)
        return report

    def __getattr__(self, name: str) -> Any:
        if name not in ("train_loss", "meta_loss"):
            raise AttributeError(name)
        return self.numbers.get(name)


def _unread(stats: Mapping[str, float]) -> Mapping[str, Tensor | float]:
    return stats.unread() if isinstance(stats, Numbers) else stats


def _sum(values: Sequence[Tensor]) -> Tensor:
    """Of single numbers, in float64 and in their order."""
    return sum((value.double() for value in values[1:]), values[0].double())
