"""Surface information: all that can be known of a sample without looking inside the student."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaweight.contracts import StateSpec, StudentState
from metaweight.teachers.base import Normalize, Teacher, register_teacher, registry
from metaweight.teachers.head import WeightHead
from metaweight.teachers.inputs import (
    average_rank,
    class_labels,
    label_log_probability,
    margin_to_best_other,
    scaled_log,
    scaled_loss,
)


class Surface(nn.Module):
    """Surface features [U, width] of a batch, all about in [-1, 1]; no side effect in ``forward``.

    The loss, log p_y, the margin p_y - max_{k != y} p_k, the entropy of p / log C, the rank of the loss
    within the batch, training progress, the running mean of the train loss, the best meta loss so far,
    and an embedding of the given label.  What is not known yet is 0.
    Raises ValueError for less than two classes or an empty embedding.
    """

    SCALARS = 8
    train_loss: Tensor
    tracked: Tensor
    best_meta_loss: Tensor

    def __init__(self, spec: StateSpec, *, label_width: int = 8, decay: float = 0.99) -> None:
        super().__init__()
        if spec.classes < 2:
            raise ValueError(f"surface information needs 2 classes or more, got {spec.classes}")
        if label_width < 1 or not 0 <= decay < 1:
            raise ValueError(f"label_width is 1 or more, decay in [0, 1), got {label_width} and {decay}")
        self.classes = spec.classes
        self.decay = decay
        self.width = self.SCALARS + label_width
        self.label = nn.Embedding(spec.classes, label_width)
        self.register_buffer("train_loss", torch.zeros(()))
        self.register_buffer("tracked", torch.zeros((), dtype=torch.int64))
        self.register_buffer("best_meta_loss", torch.full((), math.inf))

    def forward(self, state: StudentState) -> Tensor:
        """Features [U, width] in the dtype of the parameters."""
        labels = class_labels(state)
        log_p = F.log_softmax(state.outputs.to(self.label.weight.dtype), dim=1)
        loss, p = state.loss.to(log_p.dtype), log_p.exp()
        scalars = [
            scaled_loss(loss, self.classes),
            scaled_log(label_log_probability(log_p, labels), self.classes),
            margin_to_best_other(p, labels),
            -(p * log_p).sum(dim=1) / math.log(self.classes),
            average_rank(loss),
            torch.full_like(loss, 2 * state.progress - 1),
            self._known(self.train_loss, self.tracked > 0).expand_as(loss),
            self._known(self.best_meta_loss, self.best_meta_loss.isfinite()).expand_as(loss),
        ]
        return torch.cat([torch.stack(scalars, dim=1), self.label(labels)], dim=1)

    def _known(self, loss: Tensor, known: Tensor) -> Tensor:
        return scaled_loss(loss, self.classes).where(known, torch.zeros_like(loss))

    def track(self, state: StudentState) -> None:
        """Move the running mean of the train loss: the plain mean at first, then an exponential one."""
        self.tracked = self.tracked + 1
        rate = (1 / self.tracked.to(self.train_loss)).clamp_min(1 - self.decay)
        self.train_loss = self.train_loss.lerp(state.loss.detach().mean().to(self.train_loss), rate)

    def observe(self, meta_state: StudentState) -> None:
        """Keep the least mean meta loss."""
        meta_loss = meta_state.loss.detach().mean()
        self.best_meta_loss = self.best_meta_loss.minimum(meta_loss.to(self.best_meta_loss))


@register_teacher("surface")
class SurfaceTeacher(Teacher):
    """An MLP on surface information: the control that inner states must beat.

    Its hidden layer is as wide as needed for the parameter count of ``mlp`` (``matched_width``), so
    that a gain of ``mlp`` is not a gain of size; ``width`` sets it by hand.
    """

    def __init__(
        self,
        spec: StateSpec,
        *,
        width: int | None = None,
        label_width: int = 8,
        normalize: Normalize = "none",
    ) -> None:
        super().__init__()
        self.surface = Surface(spec, label_width=label_width)
        width = matched_width(spec, label_width=label_width) if width is None else width
        self.head = WeightHead(self.surface.width, width, normalize=normalize)

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U]."""
        weights: Tensor = self.head(self.surface(state))
        return weights.to(state.loss.dtype)

    def track(self, state: StudentState) -> None:
        """See ``Surface.track``."""
        self.surface.track(state)

    def observe(self, meta_state: StudentState) -> None:
        """See ``Surface.observe``."""
        self.surface.observe(meta_state)


def matched_width(spec: StateSpec, *, to: str = "mlp", label_width: int = 8, default: int = 64) -> int:
    """Hidden units that give ``surface`` as many parameters as the teacher ``to`` has for ``spec``.

    ``default`` where the student has no taps: then there is nothing to match.
    """
    if not spec.features:
        return default
    with torch.device("meta"):  # shapes only: draws no random number, allocates nothing
        target = sum(p.numel() for p in registry[to](spec).parameters())
    a_unit = Surface.SCALARS + label_width + 2
    return max(1, round((target - spec.classes * label_width - 1) / a_unit))
