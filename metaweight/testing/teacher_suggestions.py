"""What the suggestions of a teacher must be."""

from __future__ import annotations

import torch

from metaweight.core.contracts import StudentState
from metaweight.teachers.base import Teacher
from metaweight.testing.rules import changed, clones, require


def require_suggestions(teacher: Teacher, state: StudentState) -> None:
    """Raise ContractError where a teacher's suggestions for a state of classes break a rule.

    Labels [U] are int64 and not those given; shares [U] lie in 0..1; and to suggest changes nothing.
    """
    own, units = clones(teacher.state_dict()), len(state)
    said = teacher.suggest(state)
    moved = changed(own, teacher.state_dict())
    require(not moved, f"suggest changes {', '.join(moved)}; do so in track or observe")
    labels, share = said.labels, said.share
    other = labels.shape == (units,) and labels.dtype == torch.int64 and bool((labels != state.targets).all())
    require(other, "labels are int64, one a unit, another than the given one; leave that out of the maximum")
    between = share.shape == (units,) and bool(((share >= 0) & (share <= 1)).all())
    require(between, "shares lie in 0..1, one a unit; clamp them")
