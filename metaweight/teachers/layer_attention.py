"""L2T-DI over several layers: the surface asks, each tapped layer answers for the given label."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.base import Normalize, register_teacher
from metaweight.teachers.head import WeightHead
from metaweight.teachers.inputs import HiddenProjection, hidden, required_taps
from metaweight.teachers.sentences import LabelEmbedding
from metaweight.teachers.surface import ReadsSurface


@register_teacher("attention")
class LayerAttention(ReadsSurface):
    """Attention over the tapped layers; the query is the surface information with the label.

    Each layer's state is normalised and projected; its token joins the projection, with a layer
    embedding, and the projection's products with the label's embedding.  The MLP reads the query, the
    attended projections and products, and the attended bilinear score.  Fan et al. (2021); difference:
    (1) the products, as in ``mlp``.  ``projection``: width of a layer's projection, a multiple of ``heads``.
    ``label=False`` leaves out all that is made of the label but what the loss says: a control.
    Raises ValueError for a student without taps or a width that the heads do not divide.
    """

    sees = "states"

    layer_share: Tensor

    def __init__(
        self,
        spec: StateSpec,
        *,
        projection: int = 32,
        heads: int = 2,
        label: bool = True,
        width: int = 64,
        label_width: int = 8,
        normalize: Normalize = "none",
    ) -> None:
        super().__init__(spec, "attention", label_width=label_width if label else 0)
        taps = required_taps(spec, "attention")
        if heads < 1 or projection < 1 or projection % heads:
            raise ValueError(f"projection is a multiple of heads, got projection={projection}, heads={heads}")
        self.taps = tuple(taps)
        self.heads = heads
        self.project = nn.ModuleList(HiddenProjection(features, projection) for features in taps.values())
        self.layer = nn.Embedding(len(taps), projection)
        self.label = LabelEmbedding(spec, projection) if label else None
        self.query = nn.Linear(self.surface.width, projection)
        columns = 2 * projection if label else projection
        self.key = nn.Linear(columns, projection, bias=False)  # a bias cancels in the softmax
        self.head = WeightHead(projection + columns + label, width, normalize=normalize)
        self.register_buffer("layer_share", torch.zeros(len(taps)))

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U]."""
        query = self.query(self.surface(state))
        tokens = self._tokens(state)
        shares = self._shares(query, tokens)
        attended = [self._attend(shares, token) for token in tokens]
        # one scale for each part, or the many noisy columns would drown the few that tell
        scale = query.shape[1] ** -0.5
        parts = [query, *(part * scale for part in attended)]
        if self.label is not None:
            parts.append(attended[1].sum(dim=1, keepdim=True) / math.sqrt(query.shape[1]))
        weights: Tensor = self.head(torch.cat(parts, dim=1), start=self.start(state))
        return weights.to(state.loss.dtype)

    def attention_map(self, state: StudentState) -> Tensor:
        """How much each sample attends to each layer, mean over heads: [U, L], rows sum to 1."""
        return self._shares(self.query(self.surface(state)), self._tokens(state)).mean(dim=1)

    def last_attention(self) -> dict[str, float]:
        """Tap -> its mean share of the attention in the last tracked batch; 0 before any."""
        return dict(zip(self.taps, self.layer_share.tolist(), strict=True))

    def track(self, state: StudentState) -> None:
        """See ``Surface.track``; also keeps the batch's mean attention map."""
        with torch.no_grad():
            self.layer_share = self.attention_map(state).mean(dim=0)
        super().track(state)

    def _tokens(self, state: StudentState) -> list[Tensor]:
        """Projections with layer embedding, and their products with the label's embedding: each [U, L, d]."""
        projected = [p(hidden(state, tap)) for p, tap in zip(self.project, self.taps, strict=True)]
        plain = torch.stack(projected, dim=1)
        products = [] if self.label is None else [plain * self.surface.vector(self.label, state)[:, None]]
        return [plain + self.layer.weight, *products]

    def _shares(self, query: Tensor, tokens: Sequence[Tensor]) -> Tensor:
        """Softmax over layers of query x key: [U, d], one or two of [U, L, d] -> [U, heads, L]."""
        key = self._by_head(self.key(torch.cat(list(tokens), dim=2)))
        queries = self._by_head(query)
        # written out, as fused attention has no second derivative
        score = torch.einsum("uhd,ulhd->uhl", queries, key) / math.sqrt(queries.shape[-1])
        return score.softmax(dim=-1)

    def _attend(self, shares: Tensor, values: Tensor) -> Tensor:
        """Each head's mean of its slice of the values: [U, heads, L], [U, L, d] -> [U, d]."""
        return torch.einsum("uhl,ulhd->uhd", shares, self._by_head(values)).flatten(1)

    def _by_head(self, values: Tensor) -> Tensor:
        return values.reshape(*values.shape[:-1], self.heads, -1)
