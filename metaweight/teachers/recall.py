"""A teacher that starts from L2RW's signal: it remembers what each sample's own hypergradient was."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.core.processes import ALONE, Processes
from metaweight.core.weights import group_means
from metaweight.teachers.base import Normalize, register_teacher
from metaweight.teachers.head import WeightHead
from metaweight.teachers.inputs import residual_size
from metaweight.teachers.per_sample import PerSample
from metaweight.teachers.surface import ReadsSurface

CLIP = 3.0
"""Of a signal, in standard deviations of its batch: one step with a wild gradient is no evidence."""


class SampleSignals(PerSample):
    """A running mean of each sample's signal, which is minus its hypergradient as the batch has it.

    A batch's hypergradient is centred, divided by its root mean square and clipped to +-CLIP, so that early
    and late visits count alike.  The mean is plain at first, then exponential with ``decay``; with 0 it is
    the signal of the last visit.
    """

    mean: Tensor
    """[N], 0 where a sample was never seen; of those kept here, see ``PerSample``."""
    visits: Tensor
    """[N] int64."""

    def __init__(self, samples: int, *, decay: float, processes: Processes = ALONE) -> None:
        rows = {"mean": torch.zeros(()), "visits": torch.zeros((), dtype=torch.int64)}
        super().__init__(samples, rows, processes)
        if not 0 <= decay < 1:
            raise ValueError(f"decay lies in [0, 1), got {decay}")
        self.decay = decay

    def of(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Mean signal [U] of the samples ``index``, and the share of their visits in 1 / (1 - decay) [U]."""
        kept = self.read(index)
        seen = kept["visits"].to(kept["mean"]) * (1 - self.decay)
        return kept["mean"], seen.clamp_max(1)

    def put(self, index: Tensor, hypergradient: Tensor) -> None:
        """Take dL_meta/dw [U] of the samples ``index`` [U]; the tokens of a sentence count as their mean."""
        samples, place = index.unique(return_inverse=True)
        here, places = self.own(samples)
        hypergradient = hypergradient.detach()
        centred = hypergradient.to(self.mean) - hypergradient.mean().to(self.mean)
        size = centred.square().mean().sqrt()
        signal = (-centred / size.where(size > 0, torch.ones_like(size))).clamp(-CLIP, CLIP)
        signal = group_means(signal, place, len(samples))[here]
        # what was read are copies: a graph that was built on them stays valid
        visits = self.visits[places] + 1
        rate = (1 / visits.to(signal)).clamp_min(1 - self.decay)
        self.mean[places] = self.mean[places].lerp(signal, rate)
        self.visits[places] = visits


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
