"""Learning to reweight without a teacher network: the weights are read off one hypergradient."""

from __future__ import annotations

import torch
from torch import Tensor

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.base import Teacher, mean_one, register_teacher
from metaweight.teachers.inputs import residual_size


@register_teacher("l2rw")
class L2RW(Teacher):
    """Weights from the batch's own hypergradient at zero weights; no parameters.  Ren et al. (2018).

    Difference to the paper: (1) of numbers the hypergradient is divided by the size of each sample's
    residual, which has no bound.
    """

    sees = "gradient"

    # the sign of the hypergradient says who helps; subtracting its mean would move that boundary
    centered = False

    def __init__(self, spec: StateSpec) -> None:
        super().__init__()
        self.target = spec.target

    def slope_scale(self, state: StudentState) -> Tensor | None:
        """Of numbers their residuals' size."""
        return residual_size(state) if self.target == "number" else None

    def forward(self, state: StudentState) -> Tensor:
        """Ones [U]: what a step without a meta pass (warm-up) uses."""
        return torch.ones_like(state.loss)

    def from_hypergradient(self, hypergradient: Tensor) -> Tensor:
        """max(-dL_meta/dw, 0) rescaled to mean 1: [U] -> [U]; all zero where no sample helps."""
        return mean_one((-hypergradient).clamp_min(0))
