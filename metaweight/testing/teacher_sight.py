"""Whether a teacher sees what it says: weights that do, and do not, follow a part of the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from metaweight.core.contracts import StudentState
from metaweight.teachers.base import Sees, Teacher
from metaweight.testing.rules import require

Change = Callable[[StudentState], StudentState]
Experienced = Callable[[torch.dtype, Change], Teacher]


def _other(value: Tensor) -> Tensor:
    """Other numbers of the same kind, the same for every call with ``value``."""
    return value.flip(0) * 1.5 + 0.1


def _states(state: StudentState) -> StudentState:
    return replace(state, features={name: _other(value) for name, value in state.features.items()})


def _surface(state: StudentState) -> StudentState:
    """Other outputs and targets; the loss stays."""
    return replace(state, outputs=_other(state.outputs), targets=state.targets.flip(0))


def _loss(state: StudentState) -> StudentState:
    return replace(state, loss=_other(state.loss))


PARTS: Mapping[Sees, Change] = {"loss": _loss, "surface": _surface, "states": _states}
"""What a teacher may see, from the least to the most -> the same state with other values of that part."""


def require_sight(sees: Sees | None, state: StudentState, experienced: Experienced) -> None:
    """Raise ContractError where weights follow a part beyond ``sees``, or not the part that it names.

    A teacher that says nothing, or that reads the gradient alone, is not asked.
    """
    if sees is None or sees == "gradient":
        return
    order = ["nothing", *PARTS]
    require(sees in order, f"it says {sees!r}; say one of {', '.join(order)}, gradient")
    for part, change in PARTS.items():
        # what it was shown before counts as much as what it weighs
        ours, theirs = (
            experienced(state.loss.dtype, c)(c(state)) for c in (lambda unchanged: unchanged, change)
        )
        follows = not torch.equal(ours, theirs)
        beyond = order.index(part) > order.index(sees)
        require(not (follows and beyond), f"it says {sees!r}, its weights follow {part}; say sees = {part!r}")
        require(follows or part != sees, f"it says {sees!r}, its weights do not follow it; say less")
