"""What the targets of a batch are: one class label a unit, places in the batch, or something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metaweight.core.batch import Batch
from metaweight.core.contracts import Forward, StateSpec, StudentState, Target
from metaweight.core.reads import doubt
from metaweight.student.losses.base import targets_of

if TYPE_CHECKING:
    from metaweight.student.student import Student


def spec_of(
    student: Student, batch: Batch, class_counts: tuple[int, ...] | None, samples: int | None
) -> StateSpec:
    """Sizes of a student's states, measured on one batch without a trace."""
    forward = student.glance(batch)
    return StateSpec(
        features={name: value.shape[1] for name, value in forward.features.items()},
        classes=forward.state().outputs.shape[-1],
        dtype=forward.loss.dtype,
        device=forward.loss.device,
        sentences=forward.units.real is not None and not forward.units.each_token,
        tokens=forward.units.each_token,
        source_taps=tuple(forward.lengths),
        target=target_kind(student, batch, forward),
        class_counts=class_counts,
        samples=samples,
        processes=student.processes,
    )


def target_kind(student: Student, batch: Batch, forward: Forward) -> Target:
    """What kind of target the units of ``forward``, a pass over ``batch``, have."""
    state = forward.state()
    kind = targets_of(student.loss)
    if kind not in (None, "class"):
        return kind if _in_columns(state) else "other"
    if are_labels(forward, state.outputs.shape[-1]) and not are_positions(student, batch):
        return "class"
    return "other"


def _in_columns(state: StudentState) -> bool:
    """Whether there is a target for each output: outputs [U, D], targets [U, D] or, where D = 1, [U]."""
    outputs, targets = state.outputs, state.targets
    if outputs.dim() != 2 or outputs.shape[1] == 0:
        return False
    return targets.shape == outputs.shape or (outputs.shape[1] == 1 and targets.shape == (len(outputs),))


def are_labels(forward: Forward, classes: int) -> bool:
    """Whether every unit of a pass has one class label, of a sentence words: integers in 0..``classes``-1.

    Without logits (``classes`` 0) any integers [U] count as labels.
    """
    targets = forward.batch.targets
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        return False
    if forward.units.real is not None:
        return True
    if targets.dim() != 1 or classes == 1:
        return False
    return classes == 0 or bool(((targets >= 0) & (targets < classes)).all())


def are_positions(student: Student, batch: Batch) -> bool:
    """Whether targets are the rows' own places, 0..U-1, and outputs have a column for each row.

    So it is with a contrastive loss: what looks like a label says nothing of the sample.  Ten samples of ten
    classes in their order look the same; there, a batch without its last row has as many columns as before.
    """
    up = _counts_up(batch.targets)
    return up is not None and bool(up) and _follow_the_rows(student, batch)


def refuse_positions(student: Student, batch: Batch) -> None:
    """Raise ValueError where ``center="class"`` would centre over places in the batch (``are_positions``)."""

    def fail() -> None:
        if not _follow_the_rows(student, batch):
            return
        raise ValueError(
            "center='class' needs classes, and this student's targets are places in the batch, 0..U-1, as a "
            "contrastive loss has them: each unit is alone in its class, and nothing is left of its slope; "
            "take center=True or False"
        )

    up = _counts_up(batch.targets)
    if up is not None:
        doubt(up, fail)


def _counts_up(targets: Tensor) -> Tensor | None:
    """Whether they are 0, 1, 2, ..., a single bool; None: so few, or of such a kind, they are no places."""
    if targets.dim() != 1 or targets.is_floating_point() or targets.dtype == torch.bool or len(targets) < 3:
        return None
    return (targets == torch.arange(len(targets), device=targets.device)).all()


def _follow_the_rows(student: Student, batch: Batch) -> bool:
    """Whether outputs have a column for each row, of a batch with one row less too."""
    size = len(batch)
    fewer = batch.rows(torch.arange(size - 1, device=batch.index.device))
    widths = [_width(student, one) for one in (batch, fewer)]
    return widths == [size, size - 1]


def _width(student: Student, batch: Batch) -> int:
    outputs = student.glance(batch).outputs
    return outputs.shape[-1] if outputs.dim() == 2 else 0
