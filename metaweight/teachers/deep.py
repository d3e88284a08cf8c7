"""L2T-DI with one hidden state: the deepest tap, multiplied with the label it is said to have."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.base import Normalize, register_teacher
from metaweight.teachers.head import WeightHead
from metaweight.teachers.inputs import HiddenProjection, deepest_taps, hidden
from metaweight.teachers.sentences import LabelEmbedding
from metaweight.teachers.surface import ReadsSurface


@register_teacher("mlp")
class DeepMLP(ReadsSurface):
    """An MLP on the deepest tap's state, its products with the label's embedding, and the surface.

    Fan et al. (2021), where label and state are concatenated.  Difference: (1) their products enter too,
    one by one and summed (a bilinear score: on which side of its label does the state lie?); a
    concatenation did not find wrong labels that depend on the image.
    ``projection``: width of a projected state.  ``layers``: so many of the deepest taps, 0 for all; each
    has a projection, products and a score of its own.  ``label=False`` leaves out all that is made of the
    label but what the loss says: a control.  Raises ValueError for a student with fewer taps.
    """

    sees = "states"

    def __init__(
        self,
        spec: StateSpec,
        *,
        projection: int = 32,
        layers: int = 1,
        label: bool = True,
        width: int = 64,
        label_width: int = 8,
        normalize: Normalize = "none",
    ) -> None:
        super().__init__(spec, "mlp", label_width=label_width if label else 0)
        taps = deepest_taps(spec, "mlp", layers)
        self.taps = tuple(taps)
        self.project = HiddenProjection(taps[self.taps[0]], projection)
        self.deeper = nn.ModuleList(HiddenProjection(taps[tap], projection) for tap in self.taps[1:])
        self.label = LabelEmbedding(spec, projection) if label else None
        each = 2 * projection + 1 if label else projection
        self.head = WeightHead(self.surface.width + each * len(taps), width, normalize=normalize)

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U]."""
        parts = [self.surface(state)]
        for tap, project in zip(self.taps, (self.project, *self.deeper), strict=True):
            own = project(hidden(state, tap))
            # one scale for each part, or the many noisy columns would drown the few that tell
            scale = own.shape[1] ** -0.5
            parts.append(own * scale)
            if self.label is not None:
                products = own * self.surface.vector(self.label, state)
                bilinear = products.sum(dim=1, keepdim=True) * scale
                parts += [products * scale, bilinear]
        weights: Tensor = self.head(torch.cat(parts, dim=1), start=self.start(state))
        return weights.to(state.loss.dtype)
