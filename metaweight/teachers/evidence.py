"""Weights that nobody learns: do the student and the trusted neighbours say what the sample says?"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.base import Teacher, register_teacher
from metaweight.teachers.inputs import (
    class_labels,
    in_columns,
    require_outputs,
)
from metaweight.teachers.neighbours import equal_parts, likelier_word, neighbours_agree
from metaweight.teachers.numbers import CLIP, number_evidence
from metaweight.teachers.readings import label_reading, likelier_than_expected, output_log_probabilities
from metaweight.teachers.sentences import sentence_surplus
from metaweight.teachers.trusted import (
    TrustedStates,
    compared,
    nearness,
    told,
)

FLOOR = 0.02
"""Of a share of neighbours: fewer than one in fifty say no more."""


@register_teacher("evidence")
class Evidence(Teacher):
    """2 sigmoid of how much likelier than chance a sample's target is, in nats; no meta-gradient.

    Of a class log p_y + log C by the student's outputs, and ``vote`` times the same by the ``k`` nearest
    trusted samples, each within +-CLIP: where the student is sure of something else the weight is small,
    where it is in two minds it is 1.  Of a soft label the mean over its classes, of several answers over the
    questions, with yes and no for classes.  Of words, of which there are many, the entropy stands for log C:
    a word that was to be expected has weight 1; a sentence has the mean over its words, and ``vote`` times
    how much nearer its translation is to those of its neighbours than to any (``pair_agreement``).
    Of numbers ``number_evidence`` of the neighbours' residuals, of all trusted samples where the student has
    no tap.  Nearness is that of ``knn``; no trusted sample that is trained on is its own neighbour.
    Where the student learns wrong labels with ease, as images with confused classes, its outputs are no
    evidence: take ``memory`` or ``l2rw``.
    Raises ValueError for targets of no known kind, a student without taps unless targets are numbers, k or
    capacity below 1, and a negative vote.
    """

    sees, learns = "states", False

    def __init__(self, spec: StateSpec, *, k: int = 10, vote: float = 0.5, capacity: int = 512) -> None:
        super().__init__()
        require_outputs(spec, "teacher 'evidence'", "class", "soft", "several", "number")
        if k < 1 or vote < 0:
            raise ValueError(f"k is 1 or more, vote 0 or more, got {k} and {vote}")
        self.target, self.words, self.k, self.vote = spec.target, spec.tokens, k, vote
        self.tap, self.pair, width, self.source_width = compared(spec, "evidence")
        self.trusted = TrustedStates.of(spec, width, capacity=capacity)

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U] in (0, 2)."""
        return 2 * self.score(state).sigmoid().to(state.loss.dtype)

    def score(self, state: StudentState) -> Tensor:
        """The evidence [U], in nats; of numbers 0 before two trusted samples were observed."""
        _, targets = self.trusted.held()
        if self.target == "number":
            if self.trusted.others < 2:
                return torch.zeros_like(state.loss)
            own, itself = told(state, self.target, targets.dtype), self.trusted.itself(state.index)
            return number_evidence(self._nearest(state), targets, own, itself)
        own = self._of_outputs(state)
        if not self.vote or self.trusted.others < (1 if self.pair is None else 2):
            return own
        return own + self.vote * self._of_neighbours(state, targets).to(own)

    def observe(self, meta_state: StudentState) -> None:
        """Remember the trusted samples' hidden states."""
        self.trusted.remember(meta_state, self.tap, self.pair, self.target)

    def _nearest(self, state: StudentState) -> Tensor:
        """Equal parts of each unit's nearest trusted samples [U, N]."""
        k = len(self.trusted) if self.tap is None else self.k
        return equal_parts(nearness(self.trusted, state, self.tap, self.trusted.itself(state.index)), k)

    def _of_outputs(self, state: StudentState) -> Tensor:
        if self.pair is not None:
            return sentence_surplus(state, CLIP)
        outputs, dtype = state.outputs, state.loss.dtype
        if self.words:
            return likelier_than_expected(outputs, class_labels(state), dtype).clamp(-CLIP, CLIP)
        if self.target == "class":
            return above_chance(label_reading(outputs, class_labels(state), dtype), outputs.shape[1])
        log_p = output_log_probabilities(state, dtype, self.target)
        given = in_columns(state.targets, log_p.dtype)
        if self.target == "soft":
            return (given * above_chance(log_p, log_p.shape[1])).sum(dim=1)
        return answers_above_chance(given, log_p, F.logsigmoid(-outputs.to(dtype)))

    def _of_neighbours(self, state: StudentState, targets: Tensor) -> Tensor:
        if self.pair is not None:
            return CLIP * neighbours_agree(self.trusted, state, self.pair, self.source_width, self.k)
        nearest = self._nearest(state)
        if self.words:
            return likelier_word(nearest, targets, class_labels(state), FLOOR)
        if self.target == "class":
            share = (nearest * (targets == class_labels(state)[:, None])).sum(dim=1)
            return above_chance(share.clamp_min(FLOOR).log(), state.outputs.shape[1])
        given, shares = in_columns(state.targets, nearest.dtype), nearest @ targets
        if self.target == "soft":
            return (given * above_chance(shares.clamp_min(FLOOR).log(), shares.shape[1])).sum(dim=1)
        yes, no = (share.clamp_min(FLOOR).log() for share in (shares, 1 - shares))
        return answers_above_chance(given, yes, no)


def above_chance(log_p: Tensor, classes: int) -> Tensor:
    """log p + log C within +-CLIP, any shape: 0 where p is no more than a guess."""
    return (log_p + math.log(classes)).clamp(-CLIP, CLIP)


def answers_above_chance(given: Tensor, log_yes: Tensor, log_no: Tensor) -> Tensor:
    """``above_chance`` of the ``given`` answers in 0..1, in the mean over the questions: [U, L] -> [U]."""
    each = given * above_chance(log_yes, 2) + (1 - given) * above_chance(log_no, 2)
    return each.mean(dim=1)
