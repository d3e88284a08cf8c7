"""The right answer: real steps of the real optimizer, and central differences through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from engines.property.cases import Case, Live, quiet
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

H = 1e-4
UNSURE = 2e-6
"""Where steps of h and 2h differ by more, a kink or a steep place lies between them: no right value."""


@dataclass(frozen=True)
class Right:
    """What a user's own loop comes to."""

    slopes: Tensor
    """dL_meta/dw [K * U], by differences of order 4."""
    doubt: float
    """How far the slopes of steps of h and of 2h differ, relatively."""
    meta_loss: float
    gradient: Mapping[str, Tensor]
    """Of the last step, before clipping."""
    parameters: Mapping[str, Tensor]
    """After the steps."""
    buffers: Mapping[str, Tensor]

    @property
    def sure(self) -> bool:
        """Whether these are slopes at all."""
        return self.doubt <= UNSURE


def right_for(case: Case, live: Live) -> Right:
    """Every step is taken by a copy; what is live stays as it is."""
    at = case.weights

    def meta_loss(weights: Tensor) -> float:
        with quiet(case.seed), sdpa_kernel(SDPBackend.MATH):
            return _meta_loss(_walked(case, live, weights), case)

    near, far = [], []
    for unit in torch.eye(len(at), dtype=at.dtype):
        near.append((meta_loss(at + H * unit) - meta_loss(at - H * unit)) / (2 * H))
        far.append((meta_loss(at + 2 * H * unit) - meta_loss(at - 2 * H * unit)) / (4 * H))
    short, long = torch.tensor(near, dtype=at.dtype), torch.tensor(far, dtype=at.dtype)
    slopes = (4 * short - long) / 3
    with quiet(case.seed):
        end = _walked(case, live, at)
    return Right(
        slopes,
        float((short - long).norm() / slopes.norm().clamp_min(1e-300)),
        meta_loss(at),
        end.gradient,
        _values(end.module.named_parameters()),
        _values(end.module.named_buffers()),
    )


def _walked(case: Case, live: Live, weights: Tensor) -> Live:
    twin = live.twin()
    for batch, own in zip(case.train, weights.split(len(weights) // case.steps), strict=True):
        twin.step(batch, own, case.max_norm)
    return twin


def _meta_loss(live: Live, case: Case) -> float:
    return float(live.loss(live.module(*case.meta.inputs), case.meta.targets).mean().detach())


def _values(named: Sequence[tuple[str, nn.Parameter | Tensor]]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in named}
