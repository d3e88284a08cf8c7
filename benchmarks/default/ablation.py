"""``jury`` with one of its parts left out, each a teacher of its own."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.base import register_teacher
from metaweight.teachers.jury import Jury
from metaweight.teachers.witnesses import Heard, Witnesses

OUTPUTS, TRUSTED = 0, 1
"""Columns of ``Witnesses``."""


class Muted(Witnesses):
    """Witnesses of whom one says nothing: 0 whatever a unit is told."""

    muted: int

    def about(self, state: StudentState, heard: Heard) -> Tensor:
        said = super().about(state, heard)
        return said * (torch.arange(said.shape[1], device=said.device) != self.muted)


class _Without(Jury):
    """Jury without the witness ``muted``."""

    muted: ClassVar[int]

    def __init__(self, spec: StateSpec, *, capacity: int = 512) -> None:
        super().__init__(spec, capacity=capacity)
        self.witnesses = Muted(spec, "jury", capacity=capacity)
        self.witnesses.muted = self.muted


@register_teacher("jury-no-outputs")
class NoOutputs(_Without):
    """Jury that does not ask the student's outputs."""

    muted = OUTPUTS


@register_teacher("jury-no-hidden")
class NoHidden(_Without):
    """Jury that compares no hidden states with those of trusted samples."""

    muted = TRUSTED


@register_teacher("jury-no-signals")
class NoSignals(Jury):
    """Jury that remembers no hypergradient; its gains and its net learn from it all the same."""

    def take_hypergradient(self, index: Tensor, hypergradient: Tensor) -> None:
        """Forget it."""


@register_teacher("jury-no-start")
class NoStart(Jury):
    """Jury whose net reads all that is said and learns everything: no score starts from it."""

    def __init__(self, spec: StateSpec, *, width: int = 64) -> None:
        super().__init__(spec, signal=0.0, width=width)
        with torch.no_grad():
            self.gain.zero_()
        self.gain.requires_grad_(False)
        if self.signals is not None:
            self.signal_gain.requires_grad_(False)


@register_teacher("jury-no-share")
class NoShare(Jury):
    """Jury that takes half of the training samples for right, whatever it finds."""

    def track(self, state: StudentState) -> None:
        super().track(state)
        self.right = torch.full_like(self.right, 0.5)


@register_teacher("jury-no-doubts")
class NoDoubts(Jury):
    """Jury for which all trusted samples count alike."""

    def meta_weights(self, index: Tensor) -> Tensor | None:
        return None
