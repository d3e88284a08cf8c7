"""The vote of a sample's nearest trusted neighbours, and how strange it is to them."""

from __future__ import annotations

import torch
from torch import Tensor

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.base import Teacher, register_teacher
from metaweight.teachers.inputs import class_labels, of_others, require_target
from metaweight.teachers.numbers import CLIP, number_evidence
from metaweight.teachers.pair_states import centred_sides, pair_agreement, pair_states
from metaweight.teachers.trusted import (
    TrustedStates,
    compared,
    cosines,
    nearness,
    told,
)


@register_teacher("knn")
class Neighbours(Teacher):
    """2 where most of the ``k`` nearest trusted samples carry the given label, else 0; no meta-gradient.

    Nearness is the cosine of the deepest tap's states after the trusted mean is taken off.  Labels with
    as many votes as the winner agree too.  Soft labels and several answers agree where their Brier score
    against the neighbours' mean is no worse than that of the ``share`` of trusted samples against theirs.
    Numbers have the weight 2 sigmoid(``number_evidence``) of the neighbours' residuals, or, where the student
    has no tap, of those of all trusted samples.
    A sentence agrees where its target state is nearer to those of
    the trusted pairs with the nearest sources (``k``, at most half of those held) than to trusted target
    states at large.  Weights are 1 before any trusted state was observed, where units have no class before
    two were.  Of trusted samples that are trained on too none is its own neighbour.
    Raises ValueError for a student without taps, k or capacity below 1, or a share outside (0, 1].
    """

    sees, learns = "states", False

    limit: Tensor | None
    """Of soft labels and answers: the greatest distance of those that agree."""

    def __init__(self, spec: StateSpec, *, k: int = 10, capacity: int = 512, share: float = 0.9) -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"k, the number of neighbours, is 1 or more, got {k}")
        if not 0 < share <= 1:
            raise ValueError(f"share, of trusted samples that are no strangers, lies in (0, 1], got {share}")
        require_target(spec, "teacher 'knn'", "class", "soft", "several", "number")
        self.target = spec.target
        self.k = k
        self.tap, self.pair, width, self.source_width = compared(spec, "knn")
        self.trusted = TrustedStates.of(spec, width, capacity=capacity)
        self.share = share
        self.register_buffer("limit", torch.zeros(()) if spec.target in ("soft", "several") else None)

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U], 0 or 2."""
        states, targets = self.trusted.held()
        if self.trusted.others < (1 if self.pair is None and self.target == "class" else 2):
            return torch.ones_like(state.loss)
        if self.pair is not None:
            nearer = neighbours_agree(self.trusted, state, self.pair, self.source_width, self.k)
            return 2 * (nearer > 0).to(state.loss.dtype)
        itself = self.trusted.itself(state.index)
        similarity = nearness(self.trusted, state, self.tap, itself)
        if self.target != "class":
            own = told(state, self.target, states.dtype)
            if self.target == "number":
                parts = equal_parts(similarity, len(states) if self.tap is None else self.k)
                return 2 * number_evidence(parts, targets, own, itself).sigmoid().to(state.loss)
            assert self.limit is not None
            return 2 * (self._distance(similarity, targets, own) <= self.limit).to(state.loss)
        labels = class_labels(state)[:, None]
        nearest = similarity.topk(min(self.k, self.trusted.others), dim=1).indices
        votes = targets[nearest]
        # not one_hot: its [U, k, C] would not fit into memory where the labels are words
        most = (votes[:, :, None] == votes[:, None, :]).sum(dim=2).amax(dim=1)
        agrees = (votes == labels).sum(dim=1) == most
        return 2 * agrees.to(state.loss.dtype)

    def observe(self, meta_state: StudentState) -> None:
        """Remember the trusted samples' hidden states."""
        self.trusted.remember(meta_state, self.tap, self.pair, self.target)
        if self.limit is not None and len(self.trusted) > 1:
            states, targets = self.trusted.held()
            others = cosines(states, states).fill_diagonal_(-torch.inf)
            self.limit = self._distance(others, targets, targets).quantile(self.share)

    def _distance(self, similarity: Tensor, held: Tensor, own: Tensor) -> Tensor:
        """Of what units are told from their neighbours' mean: [U, N], [N, columns], [U, columns] -> [U]."""
        nearest = similarity.topk(min(self.k, len(held) - 1), dim=1).indices
        return (own - held[nearest].mean(dim=1)).square().sum(dim=1)


def neighbours_agree(
    trusted: TrustedStates, state: StudentState, taps: tuple[str, str], width: int, k: int
) -> Tensor:
    """By how much a translation is nearer to those of the ``k`` nearest trusted sources than to any: [U].

    ``width``: columns of the source in ``trusted``.  At most half of those held are neighbours, and none of
    them its own where ``trusted`` are trained on too.
    """
    states, _ = trusted.held()
    own = pair_states(state, taps).to(states)
    (sources, source), (translations, target) = centred_sides(states, own, width)
    itself = trusted.itself(state.index)
    near = of_others(source @ sources.T, itself, -torch.inf)
    k = min(k, trusted.others // 2)  # all of them would leave nothing to compare with but rounding
    return pair_agreement(equal_parts(near, k), near, target, translations, itself)[:, 2]


def likelier_word(parts: Tensor, held: Tensor, labels: Tensor, floor: float) -> Tensor:
    """How much likelier than expected units' words ``labels`` [U] are by trusted ones: nats [U] in +-CLIP.

    ``parts`` [U, N], rows sum to 1: how much each of the words ``held`` [N] counts.  log of the share of a
    unit's word less the mean of such logs over what counts; no share is below ``floor``.
    """
    # not one_hot: a vocabulary's would not fit into memory
    log_share = (parts * (held == labels[:, None])).sum(dim=1).clamp_min(floor).log()
    log_shares = (parts @ (held == held[:, None]).to(parts)).clamp_min(floor).log()
    return (log_share - (parts * log_shares).sum(dim=1)).clamp(-CLIP, CLIP)


def equal_parts(near: Tensor, k: int) -> Tensor:
    """Equal parts, in sum 1, for the ``k`` nearest of a row but those at -inf: [U, N] -> [U, N]."""
    nearest = near.topk(min(k, near.shape[1]), dim=1)
    parts = (nearest.values > -torch.inf).to(near)
    return torch.zeros_like(near).scatter(1, nearest.indices, parts / parts.sum(dim=1, keepdim=True))
