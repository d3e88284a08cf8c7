"""Two witnesses of what a sample is told: the student's outputs, and the trusted samples that are like it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.inputs import (
    class_labels,
    in_columns,
    label_log_probability,
    require_outputs,
)
from metaweight.teachers.neighbours import likelier_word, neighbours_agree
from metaweight.teachers.numbers import CLIP, number_evidence
from metaweight.teachers.readings import likelier_than_expected, output_log_probabilities
from metaweight.teachers.sentences import sentence_surplus
from metaweight.teachers.trusted import (
    Compared,
    TrustedStates,
    compared,
    nearness,
    told,
)

FAR = 5.0
"""Nats beyond which a margin says no more."""
TEMPERATURE = 10.0
"""Factor on the cosine to trusted samples, before the softmax."""
NEIGHBOURS = 10
"""Of a sentence."""


class Heard(NamedTuple):
    """What is known of units, whatever they are told."""

    outputs: Tensor | None
    """By the student's outputs margins [U, C], log odds of yes [U, L], of words the outputs; None of numbers
    and sentences."""
    trusted: Tensor | None
    """By trusted samples the same, of words and numbers the attention to each [U, N], of sentences what is
    said [U]; None before two were observed."""
    itself: Tensor | None = None
    """Which of the trusted samples are the units themselves [U, N]; None where they are not left out."""


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
        self.compares = bool(spec.source_taps if spec.sentences else spec.features) or self.target == "number"
        seen = compared(spec, reader) if self.compares else Compared(None, None, 0, 0)
        self.tap, self.pair, width, self.source_width = seen
        self.number = 1 + (self.compares and self.target != "number")
        self.trusted = TrustedStates.of(spec, width, capacity=capacity)

    def forward(self, state: StudentState) -> Tensor:
        """What they say: [U, number]; of trusted samples 0 before two were observed."""
        return self.about(state, self.heard(state))

    def heard(self, state: StudentState, *, others: bool = False) -> Heard:
        """What they know of units before it is asked what these are told.

        ``others``: units are trusted themselves, and none is compared with itself; nor is any that is trained
        on where the trusted ones are.
        """
        outputs = None
        if self.target != "number" and state.real is None:
            outputs = self._of_outputs(state)
        itself = self.trusted.same(state.index) if others else self.trusted.itself(state.index)
        held = len(self.trusted) if self.compares else 0
        enough = held >= 2 + (itself is not None)
        return Heard(outputs, self._of_trusted(state, itself) if enough else None, itself)

    def of_themselves(self, index: Tensor) -> Tensor:
        """Which training units [U] of these samples are trusted ones that are trained on too: [U] bool."""
        itself = self.trusted.itself(index)
        return torch.zeros_like(index, dtype=torch.bool) if itself is None else itself.any(dim=1)

    def of_classes(self, heard: Heard) -> Tensor:
        """What they say of every class that a unit may have, beyond +-FAR too: [U, C, number]."""
        assert heard.outputs is not None  # the target is one class
        says = [heard.outputs]
        if self.compares:
            says.append(torch.zeros_like(heard.outputs) if heard.trusted is None else heard.trusted)
        return torch.stack([said.to(heard.outputs) for said in says], dim=2)

    def about(self, state: StudentState, heard: Heard) -> Tensor:
        """What they say of what units are told: [U, number]."""
        said = []
        if state.real is not None:
            said.append(sentence_surplus(state, CLIP))
        elif heard.outputs is not None:
            said.append(self._own(state, heard.outputs))
        if self.compares:
            said.append(self._by_trusted(state, heard))
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

    def _of_outputs(self, state: StudentState) -> Tensor:
        if self.words:  # of so many classes nothing is made before it is asked for one
            return state.outputs
        log_p = output_log_probabilities(state, state.loss.dtype, self.target)
        if self.target == "several":
            return log_p - F.logsigmoid(-state.outputs.to(log_p.dtype))
        return margins(log_p)

    def _of_trusted(self, state: StudentState, itself: Tensor | None) -> Tensor:
        states, targets = self.trusted.held()
        if self.pair is not None:
            return CLIP * neighbours_agree(self.trusted, state, self.pair, self.source_width, NEIGHBOURS)
        attention = (TEMPERATURE * nearness(self.trusted, state, self.tap, itself)).softmax(dim=1)
        if self.words or self.target == "number":
            return attention
        if self.target == "class":
            targets = (targets[:, None] == torch.arange(self.classes, device=targets.device)).to(states)
        shares = attention @ targets
        return logs(shares) - logs(1 - shares) if self.target == "several" else margins(logs(shares))

    def _own(self, state: StudentState, outputs: Tensor) -> Tensor:
        if self.words:
            surplus = likelier_than_expected(outputs, class_labels(state), state.loss.dtype)
            return surplus.clamp(-CLIP, CLIP)
        return self._of_targets(state, outputs)

    def _by_trusted(self, state: StudentState, heard: Heard) -> Tensor:
        known = heard.trusted
        if known is None:
            return torch.zeros_like(state.loss)
        _, targets = self.trusted.held()
        if self.pair is not None:
            said = known
        elif self.words:
            said = likelier_word(known, targets, class_labels(state), math.exp(-FAR))
        elif self.target == "number":
            said = number_evidence(known, targets, told(state, self.target, known.dtype), heard.itself)
        else:
            said = self._of_targets(state, known)
        return said.to(state.loss)

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
