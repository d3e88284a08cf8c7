"""Surface information: all that can be known of a sample without looking inside the student."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.answers import SEVERAL_SCALARS, SOFT_SCALARS, several_scalars, soft_scalars
from metaweight.teachers.base import Normalize, Teacher, register_teacher, registry
from metaweight.teachers.head import WeightHead
from metaweight.teachers.inputs import even_parts, require_outputs, scaled_loss
from metaweight.teachers.numbers import NUMBER_SCALARS, NumberScale, number_evidence
from metaweight.teachers.sentences import (
    CLASS_SCALARS,
    SENTENCE_SCALARS,
    LabelEmbedding,
    class_scalars,
    label_rows,
    sentence_scalars,
)
from metaweight.teachers.trusted import told

SCALARS = {
    "class": CLASS_SCALARS,
    "sentence": SENTENCE_SCALARS,
    "soft": SOFT_SCALARS,
    "several": SEVERAL_SCALARS,
    "number": NUMBER_SCALARS,
}
SCALARS_OF = {
    "class": class_scalars,
    "sentence": sentence_scalars,
    "soft": soft_scalars,
    "several": several_scalars,
}
"""(state, type of the numbers) -> what its outputs say [U, SCALARS]; numbers have ``NumberScale``."""


class Surface(nn.Module):
    """Surface features [U, width] of a batch, all about in [-1, 1]; no side effect in ``forward``.

    What the outputs say of what a unit is told (``class_scalars``, ``sentence_scalars``, ``soft_scalars``,
    ``several_scalars``, ``NumberScale.scalars``), training progress, the running mean of the train loss, the
    best meta loss so far, and an embedding of what the unit is told.
    What is not known yet is 0.  ``label_width=0``: no embedding.  Raises ValueError for less than two
    classes, and for targets of no known kind.
    """

    train_loss: Tensor
    tracked: Tensor
    best_meta_loss: Tensor

    def __init__(
        self,
        spec: StateSpec,
        reader: str = "surface information",
        *,
        label_width: int = 8,
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        require_outputs(spec, reader, "class", "soft", "several", "number")
        if label_width < 0 or not 0 <= decay < 1:
            raise ValueError(f"label_width is 0 or more, decay in [0, 1), got {label_width} and {decay}")
        self.target = spec.target
        self.scalars = SCALARS_OF.get(reading_of(spec))
        self.classes = 2 if spec.target == "several" else spec.classes
        self.decay = decay
        self.numbers = (
            NumberScale(spec.classes, in_train=spec.meta_in_train) if spec.target == "number" else None
        )
        self.width = surface_width(spec, label_width)
        self.label = LabelEmbedding(spec, label_width) if label_width else None
        self.register_buffer("train_loss", torch.zeros(()))
        self.register_buffer("tracked", torch.zeros((), dtype=torch.int64))
        self.register_buffer("best_meta_loss", torch.full((), math.inf))

    def forward(self, state: StudentState) -> Tensor:
        """Features [U, width] in the teacher's dtype."""
        scalars = self._scalars(state)
        same = [
            scalars.new_full((), 2 * state.progress - 1),
            self._known(self.train_loss, self.tracked > 0),
            self._known(self.best_meta_loss, self.best_meta_loss.isfinite()),
        ]
        common = torch.stack(same).expand(len(state), -1)
        return torch.cat(
            [scalars, common, *([self.vector(self.label, state)] if self.label is not None else [])], dim=1
        )

    def vector(self, label: LabelEmbedding, state: StudentState) -> Tensor:
        """What each unit is told, embedded by ``label``: [U, width]."""
        return label.of(state, self.numbers)

    def _scalars(self, state: StudentState) -> Tensor:
        if self.numbers is not None:
            return self.numbers.scalars(state)
        assert self.scalars is not None
        return self.scalars(state, self.train_loss.dtype)

    def _known(self, loss: Tensor, known: Tensor) -> Tensor:
        unit = 1 if self.numbers is None else self.numbers.square()
        return scaled_loss(loss / unit, self.classes).where(known, torch.zeros_like(loss))

    def track(self, state: StudentState) -> None:
        """Move the running mean of the train loss: the plain mean at first, then an exponential one."""
        self.tracked = self.tracked + 1
        rate = (1 / self.tracked.to(self.train_loss)).clamp_min(1 - self.decay)
        self.train_loss = self.train_loss.lerp(state.loss.detach().mean().to(self.train_loss), rate)
        if self.numbers is not None:
            self.numbers.track(state)

    def observe(self, meta_state: StudentState) -> None:
        """Keep the least mean meta loss."""
        meta_loss = meta_state.loss.detach().mean()
        self.best_meta_loss = self.best_meta_loss.minimum(meta_loss.to(self.best_meta_loss))
        if self.numbers is not None:
            self.numbers.observe(meta_state)


class ReadsSurface(Teacher):
    """Base of teachers that read surface information: builds it and keeps its running means.

    Of numbers the scores start from what trusted rows say of them (``start``): a loss that has no bound lets
    the first meta-gradients ask for more of what is wrong, and a teacher that starts even would follow.
    """

    def __init__(self, spec: StateSpec, name: str, *, label_width: int) -> None:
        super().__init__()
        self.surface = Surface(spec, f"teacher {name!r}", label_width=label_width)
        self.target = spec.target
        self.evidence_gain = nn.Parameter(torch.ones(())) if spec.target == "number" else None

    def start(self, state: StudentState) -> Tensor | None:
        """What scores [U] start from: a learnt gain times ``number_evidence``; None of other targets.

        0 before any trusted row was observed.
        """
        if self.evidence_gain is None:
            return None
        attention, held, itself = self.neighbours(state)
        if not attention.shape[1]:
            return held.new_zeros(len(state))
        own = told(state, self.target, held.dtype)
        return self.evidence_gain * number_evidence(attention, held, own, itself)

    def neighbours(self, state: StudentState) -> tuple[Tensor, Tensor, Tensor | None]:
        """How much each unit attends to each of N trusted rows [U, N], what these are told [N, columns], and
        which of them are the unit itself, see ``TrustedStates.itself``.  N is 0 where there is no other.
        """
        assert self.surface.numbers is not None
        trusted = self.surface.numbers.trusted
        _, held = trusted.held()
        if not trusted.others:
            return held.new_zeros(len(state), 0), held[:0], None
        itself = trusted.itself(state.index)
        return even_parts(held.new_empty(len(state), len(held)), itself), held, itself

    def track(self, state: StudentState) -> None:
        """See ``Surface.track``."""
        self.surface.track(state)

    def observe(self, meta_state: StudentState) -> None:
        """See ``Surface.observe``."""
        self.surface.observe(meta_state)


@register_teacher("surface")
class SurfaceTeacher(ReadsSurface):
    """An MLP on surface information: the control that inner states must beat.

    Its hidden layer is as wide as needed for the parameter count of ``mlp`` (``matched_width``), so
    that a gain of ``mlp`` is not a gain of size; ``width`` sets it by hand.
    """

    sees = "surface"

    def __init__(
        self,
        spec: StateSpec,
        *,
        width: int | None = None,
        label_width: int = 8,
        normalize: Normalize = "none",
    ) -> None:
        super().__init__(spec, "surface", label_width=label_width)
        width = matched_width(spec, label_width=label_width) if width is None else width
        self.head = WeightHead(self.surface.width, width, normalize=normalize)

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U]."""
        weights: Tensor = self.head(self.surface(state), start=self.start(state))
        return weights.to(state.loss.dtype)


def reading_of(spec: StateSpec) -> str:
    """How a unit's target is read: as a sentence, or as its kind of target."""
    return "sentence" if spec.sentences else spec.target


def surface_width(spec: StateSpec, label_width: int) -> int:
    """Columns of ``Surface``."""
    return SCALARS[reading_of(spec)] + 3 + label_width


def matched_width(spec: StateSpec, *, to: str = "mlp", label_width: int = 8, default: int = 64) -> int:
    """Hidden units that give ``surface`` as many parameters as the teacher ``to`` has for ``spec``.

    Where labels are words their embeddings are left out of the count: how many words a language has says
    nothing of a network's size.  ``default`` where the student has no taps: then nothing is to match.
    """
    if not spec.features:
        return default
    with torch.device("meta"):  # shapes only: draws no random number, allocates nothing
        teacher = registry[to](spec)
    target = sum(p.numel() for p in teacher.parameters())
    if spec.sentences or spec.tokens:
        target -= sum(m.weight.numel() for m in teacher.modules() if isinstance(m, LabelEmbedding))
    else:
        target -= label_rows(spec) * label_width
    return max(1, round((target - 1) / (surface_width(spec, label_width) + 2)))
