"""What the suggestions of a teacher must be."""

from __future__ import annotations

import torch

from metaweight.core.contracts import StudentState
from metaweight.teachers.base import Teacher
from metaweight.testing.rules import changed, clones, require


def require_suggestions(teacher: Teacher, state: StudentState) -> None:
    """Raise ContractError where a teacher's suggestions for a state of classes break a rule.

    Probabilities [U, C] sum to 1; labels [U] are int64 and not those given; shares [U] lie in 0..1; and to
    suggest changes nothing.
    """
    own, units = clones(teacher.state_dict()), len(state)
    said = teacher.suggest(state)
    moved = changed(own, teacher.state_dict())
    require(not moved, f"suggest changes {', '.join(moved)}; do so in track or observe")
    says, labels, share = said.probabilities, said.labels, said.share
    require(
        says.shape == state.outputs.shape and bool((says >= 0).all()),
        f"got probabilities of shape {tuple(says.shape)}; give one >= 0 for each class, as outputs have them",
    )
    even = torch.ones_like(says[:, 0])
    require(
        torch.allclose(says.sum(dim=1), even), "probabilities of a unit must sum to 1; divide by their sum"
    )
    other = labels.shape == (units,) and labels.dtype == torch.int64 and bool((labels != state.targets).all())
    require(other, "labels are int64, one a unit, another than the given one; leave that out of the maximum")
    between = share.shape == (units,) and bool(((share >= 0) & (share <= 1)).all())
    require(between, "shares lie in 0..1, one a unit; clamp them")
