"""L2T-DI with one hidden state: the deepest tap, multiplied with the label it is said to have."""

from __future__ import annotations

import torch
from torch import Tensor

from metaweight.contracts import StateSpec, StudentState
from metaweight.teachers.base import Normalize, Teacher, register_teacher
from metaweight.teachers.head import WeightHead
from metaweight.teachers.inputs import HiddenProjection, hidden, last_tap
from metaweight.teachers.sentences import LabelEmbedding
from metaweight.teachers.surface import Surface


@register_teacher("mlp")
class DeepMLP(Teacher):
    """An MLP on the deepest tap's state, its products with the label's embedding, and the surface.

    Fan et al. (2021), where label and state are concatenated.  Difference: (1) their products enter too,
    one by one and summed (a bilinear score: on which side of its label does the state lie?); a
    concatenation did not find wrong labels that depend on the image.
    ``projection``: width of the projected state.  Raises ValueError for a student without taps.
    """

    def __init__(
        self,
        spec: StateSpec,
        *,
        projection: int = 32,
        width: int = 64,
        label_width: int = 8,
        normalize: Normalize = "none",
    ) -> None:
        super().__init__()
        self.tap, features = last_tap(spec, "mlp")
        self.surface = Surface(spec, label_width=label_width)
        self.project = HiddenProjection(features, projection)
        self.label = LabelEmbedding(spec, projection)
        self.head = WeightHead(self.surface.width + 2 * projection + 1, width, normalize=normalize)

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U]."""
        own = self.project(hidden(state, self.tap))
        products = own * self.label.of(state)
        bilinear = products.sum(dim=1, keepdim=True) * own.shape[1] ** -0.5
        # one scale for each part, or the many noisy columns would drown the few that tell
        parts = [self.surface(state), own * own.shape[1] ** -0.5, products * own.shape[1] ** -0.5, bilinear]
        weights: Tensor = self.head(torch.cat(parts, dim=1))
        return weights.to(state.loss.dtype)

    def track(self, state: StudentState) -> None:
        """See ``Surface.track``."""
        self.surface.track(state)

    def observe(self, meta_state: StudentState) -> None:
        """See ``Surface.observe``."""
        self.surface.observe(meta_state)
