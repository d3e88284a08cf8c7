"""Attention over the trusted samples: what label would the sample's trusted neighbours give it?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaweight.core.contracts import StateSpec, StudentState, Target
from metaweight.core.pieces import is_large
from metaweight.teachers.answers import several_agreement, soft_agreement
from metaweight.teachers.base import Normalize, register_teacher
from metaweight.teachers.head import WeightHead
from metaweight.teachers.inputs import (
    class_labels,
    hidden,
    label_log_probability,
    last_tap,
    margin_to_best_other,
    of_others,
    scaled_log,
)
from metaweight.teachers.numbers import number_agreement
from metaweight.teachers.pair_states import (
    PAIR_AGREEMENT,
    centred_sides,
    pair_agreement,
    pair_states,
)
from metaweight.teachers.surface import ReadsSurface
from metaweight.teachers.trusted import TrustedStates, compared, told

AGREEMENTS: Mapping[Target, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "soft": lambda attention, held, own: soft_agreement(attention @ held, own),
    "several": lambda attention, held, own: several_agreement(attention @ held, own),
    "number": number_agreement,
}
"""By kind of target: attention [U, N], what trusted samples and units are told -> agreement [U, 4]."""


@register_teacher("memory")
class Memory(ReadsSurface):
    """An MLP on the surface and on how far the trusted samples agree with the given label.

    The deepest tap's state, less the trusted mean and learnt-projected, attends by cosine over the
    states of the trusted samples that the meta passes left behind, so it costs no pass of its own.  That
    gives a label distribution q; the MLP reads q_y, its margin to the best other label, log q_y and the
    entropy of q: four zeros before anything was observed.  A trusted sample that is trained on too does not
    attend to itself.  Ours; ``knn`` is its control.
    Of soft labels and several answers it reads the same, in the mean over classes and questions; of numbers
    how far they and the student's residuals lie from the neighbours' mean, in the neighbours' spreads.
    Of sentences, sources attend over trusted sources, and the MLP reads how near the translation is to
    theirs (``pair_agreement``).
    ``projection``: greatest width of the projection, which starts as the identity, or as a random
    orthogonal map where the state is wider.  ``temperature``: first factor on the cosine, learnt.
    Raises ValueError for a student without taps, or options that are not positive.
    """

    sees = "states"

    AGREEMENT = PAIR_AGREEMENT

    def __init__(
        self,
        spec: StateSpec,
        *,
        capacity: int = 512,
        projection: int = 128,
        temperature: float = 10.0,
        width: int = 64,
        label_width: int = 8,
        normalize: Normalize = "none",
    ) -> None:
        super().__init__(spec, "memory", label_width=label_width)
        if projection < 1 or not temperature > 0:
            raise ValueError(f"projection and temperature are positive, got {projection} and {temperature}")
        self.classes = spec.classes
        self.tap, features = last_tap(spec, "memory")
        _, self.pair, width_held, source_width = compared(spec, "memory")
        self.trusted = TrustedStates.of(spec, width_held, capacity=capacity)
        features = features if self.pair is None else source_width
        self.project = nn.Linear(features, min(features, projection), bias=False)
        if features <= projection:
            nn.init.eye_(self.project.weight)
        else:
            nn.init.orthogonal_(self.project.weight)
        self.log_temperature = nn.Parameter(torch.full((), math.log(temperature)))
        self.head = WeightHead(self.surface.width + self.AGREEMENT, width, normalize=normalize)

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U]."""
        surface = self.surface(state)
        if not self.trusted.others:
            agreement = surface.new_zeros(len(state), self.AGREEMENT)
        elif self.pair is not None:
            agreement = self._pair_agreement(state, self.pair)
        elif self.target == "class" and is_large(len(state) * self.classes):
            _, held = self.trusted.held()
            agreement = word_agreement(self.attention(state), held, class_labels(state), self.classes)
        elif self.target == "class":
            agreement = label_agreement(self.label_distribution(state), class_labels(state))
        else:
            attention, held, _ = self.neighbours(state)
            agreement = AGREEMENTS[self.target](attention, held, told(state, self.target, held.dtype))
        weights: Tensor = self.head(torch.cat([surface, agreement], dim=1), start=self.start(state))
        return weights.to(state.loss.dtype)

    def label_distribution(self, state: StudentState) -> Tensor:
        """Labels by trusted neighbours: [U, C], rows sum to 1.  Raises as ``attention``."""
        attention = self.attention(state)
        _, targets = self.trusted.held()
        # not one_hot, which reads the labels to know that they are classes
        is_class = targets[:, None] == torch.arange(self.classes, device=targets.device)
        return attention @ is_class.to(attention.dtype)

    def attention(self, state: StudentState) -> Tensor:
        """How much each unit attends to each trusted sample: [U, N], rows sum to 1.

        Raises ValueError before any other was observed.
        """
        states, _ = self.trusted.held()
        if not self.trusted.others:
            raise ValueError("no trusted state was observed yet: call observe(meta_state) first")
        centre = states.mean(dim=0)
        trusted, own = states - centre, hidden(state, self.tap).to(states) - centre
        # the cosine is blind to scale, but the epsilon inside F.normalize is not
        peak = trusted.abs().amax()  # no square, which could leave float32's range
        scale = peak.where(peak > 0, torch.ones_like(peak))
        keys = F.normalize(self.project(trusted / scale), dim=1)
        queries = F.normalize(self.project(own / scale), dim=1)
        nearness = self.log_temperature.exp() * queries @ keys.T
        return of_others(nearness, self.trusted.itself(state.index), -torch.inf).softmax(dim=1)

    def neighbours(self, state: StudentState) -> tuple[Tensor, Tensor, Tensor | None]:
        """See ``ReadsSurface.neighbours``; here by attention."""
        _, held = self.trusted.held()
        if not self.trusted.others:
            return held.new_zeros(len(state), 0), held[:0], None
        return self.attention(state), held, self.trusted.itself(state.index)

    def _pair_agreement(self, state: StudentState, taps: tuple[str, str]) -> Tensor:
        states, _ = self.trusted.held()
        own = pair_states(state, taps).to(states)
        sources, (trusted, target) = centred_sides(states, own, self.project.in_features)
        keys, queries = (F.normalize(self.project(side), dim=1) for side in sources)
        nearness = queries @ keys.T
        itself = self.trusted.itself(state.index)
        attention = of_others(self.log_temperature.exp() * nearness, itself, -torch.inf).softmax(dim=1)
        return pair_agreement(attention, nearness, target, trusted, itself)

    def observe(self, meta_state: StudentState) -> None:
        """See ``Surface.observe``; also remembers the trusted samples' hidden states."""
        super().observe(meta_state)
        self.trusted.remember(meta_state, self.tap, self.pair, self.target)


def label_agreement(q: Tensor, labels: Tensor) -> Tensor:
    """q_y, its margin to the best other label, log q_y scaled, entropy / log C: [U, C], [U] -> [U, 4]."""
    classes = q.shape[1]
    # the floor keeps log and its slope finite where no trusted sample carries the label
    log_q = q.clamp_min(float(classes) ** -4).log()
    agrees = q.gather(1, labels[:, None]).squeeze(1)
    scaled = scaled_log(label_log_probability(log_q, labels), classes)
    entropy = -(q * log_q).sum(dim=1) / math.log(classes)
    return torch.stack([agrees, margin_to_best_other(q, labels), scaled, entropy], dim=1)


def word_agreement(attention: Tensor, held: Tensor, labels: Tensor, classes: int) -> Tensor:
    """``label_agreement`` of the q that ``attention`` [U, N] makes of trusted labels ``held`` [N]: [U, 4].

    q is read at the labels that are held alone, for it is 0 at all others, which may be all words.
    """
    own = held == labels[:, None]
    shares = attention @ (held[:, None] == held).to(attention)
    agrees = (attention * own).sum(dim=1)
    margin = agrees - shares.masked_fill(own, 0).amax(dim=1)
    floor = float(classes) ** -4
    scaled = scaled_log(agrees.clamp_min(floor).log(), classes)
    entropy = -(attention * shares.clamp_min(floor).log()).sum(dim=1) / math.log(classes)
    return torch.stack([agrees, margin, scaled, entropy], dim=1)
