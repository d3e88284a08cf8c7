"""Weights that are read off, without learning: does the student, and do trusted neighbours, say the same?"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.base import Teacher, register_teacher
from metaweight.teachers.inputs import class_labels, in_columns, require_outputs
from metaweight.teachers.neighbours import equal_parts
from metaweight.teachers.numbers import CLIP, number_evidence
from metaweight.teachers.sentences import output_log_probabilities
from metaweight.teachers.trusted import TrustedStates, cosines, hidden_or_none, told, told_columns

FLOOR = 0.02
"""Of a share of neighbours, whose number says no more."""


@register_teacher("evidence")
class Evidence(Teacher):
    """2 sigmoid of how much likelier a unit's target is than chance, in nats; no meta-gradient.

    Of a class log p_y + log C by the student's own outputs, each within +-CLIP, plus ``neighbours`` times the
    same by the share of the ``k`` nearest trusted samples (by the deepest tap) that have it; of a soft label
    the mean over its classes, of several answers that over the questions, each of two classes.  Of numbers
    ``number_evidence`` of the neighbours' residuals, which holds both.  Where the student has no tap all
    trusted samples are neighbours of numbers, and no vote is taken of others.
    Raises ValueError for sentences, targets of no known kind, and k, capacity or shares out of range.
    """

    sees, learns = "states", False

    def __init__(self, spec: StateSpec, *, k: int = 10, neighbours: float = 0.5, capacity: int = 512) -> None:
        super().__init__()
        require_outputs(spec, "teacher 'evidence'", "class", "soft", "several", "number")
        self.target, self.k, self.share, self.classes = spec.target, k, neighbours, spec.classes
        self.tap = next(reversed(spec.features)) if spec.features else None
        width = spec.features[self.tap] if self.tap else 0
        self.trusted = TrustedStates(width, capacity=capacity, columns=told_columns(spec))

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U] in (0, 2)."""
        states, targets = self.trusted.held()
        if self.target == "number":
            if len(states) < 2:
                return torch.ones_like(state.loss)
            own = told(state, self.target, states.dtype)
            return 2 * number_evidence(self._nearest(state), targets, own).sigmoid().to(state.loss)
        dtype = state.loss.dtype
        score = self._chance(state, output_log_probabilities(state, dtype, self.target))
        if self.share and self.tap and len(states) > 1:
            if self.target == "class":
                targets = F.one_hot(targets, self.classes).to(states)
            votes = (self._nearest(state) @ targets).to(dtype)
            score = score + self.share * self._chance(
                state, votes.clamp(FLOOR, 1 - FLOOR if self.target == "several" else 1).log()
            )
        return 2 * score.sigmoid()

    def _chance(self, state: StudentState, log_p: Tensor) -> Tensor:
        """Mean of log p + log C over what the unit is told."""
        if self.target == "class":
            given = log_p.gather(1, class_labels(state)[:, None])
            return (given.squeeze(1) + math.log(self.classes)).clamp(-CLIP, CLIP)
        given = in_columns(state.targets, log_p.dtype)
        if self.target == "soft":
            return ((log_p + math.log(self.classes)).clamp(-CLIP, CLIP) * given).sum(dim=1)
        log_no = torch.log1p(-log_p.exp().clamp_max(1 - 1e-6))
        each = given * (log_p + math.log(2)).clamp_min(-CLIP) + (1 - given) * (
            log_no + math.log(2)
        ).clamp_min(-CLIP)
        return each.mean(dim=1)

    def _nearest(self, state: StudentState) -> Tensor:
        states, _ = self.trusted.held()
        k = len(states) if self.tap is None else self.k
        return equal_parts(cosines(hidden_or_none(state, self.tap).to(states), states), k)

    def observe(self, meta_state: StudentState) -> None:
        """Remember the trusted samples."""
        self.trusted.remember(meta_state, self.tap, None, self.target)
