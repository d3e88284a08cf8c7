"""A teacher that starts from L2RW's signal: it remembers what each sample's own hypergradient was."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.base import Normalize, register_teacher
from metaweight.teachers.head import WeightHead
from metaweight.teachers.inputs import residual_size
from metaweight.teachers.sample_signals import SampleSignals
from metaweight.teachers.surface import ReadsSurface


@register_teacher("recall")
class Recall(ReadsSurface):
    """An MLP on the surface and on what each sample's own hypergradient said; starts from that.

    The score is the signal times a learnt gain, plus what the MLP makes of signal and surface: before the MLP
    has learnt anything it is L2RW (Ren et al., 2018) with these differences: (1) the signal is taken at the
    teacher's weights, not at zero; (2) it is centred and scaled within its batch; (3) weights are a sigmoid
    of it, not its positive part; (4) of numbers it is divided by the size of each sample's residual.
    ``decay`` in [0, 1): of the running mean over a sample's visits.  With 0 it is the last one alone, under
    the schedule ``lookahead`` that of the iteration at hand, under ``online`` that of the epoch before.
    Raises ValueError for another ``decay`` and where the spec does not say how many samples there are.
    """

    sees, needs_samples = "surface", True
    unrated = "it starts from the meta-gradients of a row's own steps, and a new row has made none"

    def __init__(
        self,
        spec: StateSpec,
        *,
        gain: float = 2.0,
        decay: float = 0.0,
        width: int = 64,
        label_width: int = 8,
        normalize: Normalize = "none",
    ) -> None:
        super().__init__(spec, "recall", label_width=label_width)
        if spec.samples is None:
            raise ValueError(
                "teacher 'recall' remembers a number for every sample: say how many there are, "
                "student.spec(batch, samples=N)"
            )
        self.signals = SampleSignals(spec.samples, decay=decay, processes=spec.processes)
        self.gain = nn.Parameter(torch.full((), float(gain)))
        self.head = WeightHead(self.surface.width + 2, width, normalize=normalize)

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U]."""
        surface = self.surface(state)
        signal, known = self.signals.of(state.index)
        features = torch.cat([surface, torch.stack([signal, known], dim=1)], dim=1)
        start, evidence = self.gain * signal, self.start(state)
        weights: Tensor = self.head(features, start=start if evidence is None else start + evidence)
        return weights.to(state.loss.dtype)

    def slope_scale(self, state: StudentState) -> Tensor | None:
        """Of numbers their residuals' size."""
        return residual_size(state) if self.target == "number" else None

    def take_hypergradient(self, index: Tensor, hypergradient: Tensor) -> None:
        """Remember what the batch's hypergradient says of its samples."""
        self.signals.put(index, hypergradient)
