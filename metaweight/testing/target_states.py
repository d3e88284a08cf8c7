"""Specs and states of students that do not exist, of targets that are no single class."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from metaweight.core.contracts import StateSpec, StudentState, Target
from metaweight.student.losses import binary_cross_entropy, soft_cross_entropy, squared_error
from metaweight.student.losses.base import UnitLoss
from metaweight.testing.states import TAPS, class_spec, class_state, on_device

LOSSES: dict[Target, UnitLoss] = {
    "soft": soft_cross_entropy,
    "several": binary_cross_entropy,
    "number": squared_error,
}
"""Kinds of target that are no class, with the loss that says so."""
OUTPUTS = 3


def target_spec(kind: Target, *, outputs: int = OUTPUTS, **chosen: Any) -> StateSpec:
    """Of a student of ``kind``; ``chosen``: other fields."""
    return class_spec(classes=outputs, **{"target": kind, **chosen})


def target_state(
    kind: Target,
    units: int = 12,
    *,
    seed: int = 0,
    outputs: int = OUTPUTS,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    **given: Any,
) -> StudentState:
    """Outputs, hidden states and targets of ``kind`` at random, with its loss; ``given``: other fields."""
    state = class_state(units, seed=seed, taps=TAPS, classes=outputs, dtype=dtype)
    draw = torch.randn(units, outputs, generator=torch.Generator().manual_seed(seed + 500), dtype=dtype)
    made = with_targets(
        kind, state, {"soft": draw.softmax(1), "several": (draw > 0).to(dtype)}.get(kind, 2 * draw)
    )
    return on_device(replace(made, **given), device)


def with_targets(kind: Target, state: StudentState, targets: Tensor) -> StudentState:
    """``state`` with these targets and their loss."""
    loss = LOSSES[kind](state.outputs, targets)
    assert isinstance(loss, Tensor)
    return replace(state, targets=targets, loss=loss)


def target_extremes(kind: Target, state: StudentState) -> list[StudentState]:
    """The same units, with a student that is sure, sure of something else, or out of all measure."""
    given = state.targets
    sure = given if kind == "number" else 2e4 * given - 1e4
    far = given + 1e4 if kind == "number" else -sure
    huge = {name: 1e4 * value for name, value in state.features.items()}
    zero = {name: torch.zeros_like(value) for name, value in state.features.items()}
    mixed = state.loss.new_tensor([0, 1e4, 0, 1e4, 1, 1e-30]).repeat(len(state))[: len(state)]
    return [
        replace(state, loss=torch.zeros_like(state.loss), outputs=sure, features=zero, progress=0.0),
        replace(state, loss=torch.full_like(state.loss, 1e4), outputs=far, features=huge, progress=1.0),
        replace(state, loss=mixed, outputs=far),
        replace(state, targets=given[:1].expand_as(given).clone(), outputs=torch.zeros_like(state.outputs)),
    ]
