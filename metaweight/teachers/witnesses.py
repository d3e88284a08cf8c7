"""Two witnesses of what a sample is told: the student's outputs, and the trusted samples that are like it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.inputs import class_labels, in_columns, label_log_probability, require_outputs
from metaweight.teachers.neighbours import neighbours_agree
from metaweight.teachers.numbers import CLIP, number_evidence
from metaweight.teachers.pair_states import pair_taps
from metaweight.teachers.sentences import likelier_than_expected, output_log_probabilities, sentence_surplus
from metaweight.teachers.trusted import (
    TrustedStates,
    cosines,
    hidden_or_none,
    tap_to_compare,
    told,
    told_columns,
)

FAR = 5.0
"""Nats beyond which a margin says no more."""
TEMPERATURE = 10.0
"""Factor on the cosine to trusted samples, before the softmax."""
NEIGHBOURS = 10
"""Of a sentence."""


class Witnesses(nn.Module):
    """How much likelier a unit's target is than another's, in nats, by each of two witnesses.

    Of a class its margin, log p_y less the log p of the best other class, within +-FAR, by the student's
    outputs and by the labels of trusted samples, which a unit attends to by the cosine of the deepest tap's
    states, less the trusted mean.  Of a soft label the mean of margins over its classes, of several answers
    over the questions, whose margins are log odds.  Of words, of which there are many, the entropy stands
    for the best other: one that was to be expected has 0.  A sentence has the mean over its words, and how
    much nearer its translation is to those of its neighbours than to any.  Of numbers
    ``number_evidence`` of the residuals, of all trusted samples alike where the student has no tap.
    Without the taps that trusted samples are compared by the outputs alone speak; of numbers the residuals.
    ``number``: of witnesses.  Raises ValueError for targets of no known kind, and for a capacity below 1.
    """

    def __init__(self, spec: StateSpec, reader: str, *, capacity: int) -> None:
        super().__init__()
        require_outputs(spec, f"teacher {reader!r}", "class", "soft", "several", "number")
        self.target, self.words, self.classes = spec.target, spec.tokens, spec.classes
        compares = bool(spec.source_taps if spec.sentences else spec.features) or self.target == "number"
        self.tap, width = tap_to_compare(spec, reader) if compares else (None, 0)
        self.pair = pair_taps(spec, reader) if spec.sentences and compares else None
        if self.pair is not None:
            self.source_width = spec.features[self.pair[0]]
            width += self.source_width
        self.compares, self.number = compares, 1 + (compares and self.target != "number")
        self.trusted = TrustedStates(width, capacity=capacity, columns=told_columns(spec))

    def forward(self, state: StudentState, *, others: bool = False) -> Tensor:
        """What they say: [U, number]; of trusted samples 0 before two were observed.

        ``others``: units are trusted themselves, and none is compared with itself.
        """
        said = [] if self.target == "number" else [self._outputs(state)]
        if self.compares:
            said.append(self._trusted(state, others).to(state.loss))
        return torch.stack(said, dim=1)

    def observe(self, meta_state: StudentState) -> None:
        """Remember the trusted samples' hidden states and targets."""
        if self.pair is None and meta_state.real is not None:
            return  # sentences without the taps to compare them by
        self.trusted.remember(meta_state, self.tap, self.pair, self.target)

    def tried(self, state: StudentState) -> tuple[Tensor, Tensor]:
        """Which trusted units [U] others speak of fairly, 1 or 0, and of how many held this is so.

        Of a class with one trusted sample the others can say nothing.
        """
        _, targets = self.trusted.held()
        if self.target != "class":
            return torch.ones_like(state.loss), torch.tensor(float(len(targets)))
        labels = class_labels(state)
        same = [(given[:, None] == targets).sum(dim=1) > 1 for given in (labels, targets)]
        return same[0].to(state.loss), same[1].sum()

    def _outputs(self, state: StudentState) -> Tensor:
        if state.real is not None:
            return sentence_surplus(state, CLIP)
        log_p = output_log_probabilities(state, state.loss.dtype, self.target)
        if self.words:
            return likelier_than_expected(log_p, class_labels(state)).clamp(-CLIP, CLIP)
        if self.target == "several":
            return self._of_targets(state, log_p - F.logsigmoid(-state.outputs.to(log_p.dtype)))
        return self._of_targets(state, margins(log_p))

    def _trusted(self, state: StudentState, others: bool) -> Tensor:
        states, targets = self.trusted.held()
        if len(states) < 2 + others:
            return torch.zeros_like(state.loss)
        if self.pair is not None:
            return CLIP * neighbours_agree(self.trusted, state, self.pair, self.source_width, NEIGHBOURS)
        nearness = TEMPERATURE * cosines(hidden_or_none(state, self.tap).to(states), states)
        if others:
            itself = state.index[:, None] == self.trusted.index[: len(states)]
            nearness = nearness.masked_fill(itself, -torch.inf)
        attention = nearness.softmax(dim=1)
        if self.target == "number":
            return number_evidence(attention, targets, told(state, self.target, states.dtype))
        if self.words:
            # not one_hot: a vocabulary's would not fit into memory
            log_share = logs((attention * (targets == class_labels(state)[:, None])).sum(dim=1))
            log_shares = logs(attention @ (targets == targets[:, None]).to(attention))
            return (log_share - (attention * log_shares).sum(dim=1)).clamp(-CLIP, CLIP)
        if self.target == "class":
            classes = torch.arange(self.classes, device=targets.device)
            return self._of_targets(
                state, margins(logs(attention @ (targets[:, None] == classes).to(states)))
            )
        shares = attention @ targets
        if self.target == "several":
            return self._of_targets(state, logs(shares) - logs(1 - shares))
        return self._of_targets(state, margins(logs(shares)))

    def _of_targets(self, state: StudentState, says: Tensor) -> Tensor:
        """Margins of classes [U, C], or log odds of yes [U, L], as they bear on what units are told: [U]."""
        says = says.clamp(-FAR, FAR)
        if self.target == "class":
            return label_log_probability(says, class_labels(state))
        given = in_columns(state.targets, says.dtype)
        return (given * says).sum(dim=1) if self.target == "soft" else ((2 * given - 1) * says).mean(dim=1)


def margins(log_p: Tensor) -> Tensor:
    """log p_c less the greatest log p of the other classes: [U, C] -> [U, C]."""
    top = log_p.topk(2, dim=1)
    best, second = top.values[:, :1], top.values[:, 1:]
    first = torch.zeros_like(log_p, dtype=torch.bool).scatter(1, top.indices[:, :1], True)
    return log_p - second.where(first, best)


def logs(shares: Tensor) -> Tensor:
    """Logarithms of shares in 0..1, any shape, none below -FAR."""
    return shares.clamp_min(0).log().clamp_min(-FAR)
