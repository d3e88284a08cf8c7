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
ROUNDING = 1e-15
"""What the order of sums may make of a number of the gradient, relative to the whole gradient's norm."""


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
    rounded: Mapping[str, Tensor]
    """How far rounding of the gradients moves each of their numbers.

    Of a gradient that is 0 in exact numbers (a shift in front of a softmax), rounding is all there is, and
    Adafactor's step, which knows its size and its sign alone, makes a step of full length of it.
    """
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
    end, *others = (_end(case, live, rounding) for rounding in (0.0, ROUNDING, -ROUNDING))
    parameters = _values(end.module.named_parameters())
    return Right(
        slopes,
        float((short - long).norm() / slopes.norm().clamp_min(1e-300)),
        meta_loss(at),
        end.gradient,
        parameters,
        {n: _furthest(p, [other.module.get_parameter(n) for other in others]) for n, p in parameters.items()},
        _values(end.module.named_buffers()),
    )


def _walked(case: Case, live: Live, weights: Tensor, rounding: float = 0.0) -> Live:
    twin = live.twin()
    for batch, own in zip(case.train, weights.split(len(weights) // case.steps), strict=True):
        twin.step(batch, own, case.max_norm, rounding=rounding)
    return twin


def _end(case: Case, live: Live, rounding: float) -> Live:
    with quiet(case.seed):
        return _walked(case, live, case.weights, rounding)


def _furthest(value: Tensor, others: Sequence[Tensor]) -> Tensor:
    apart = [value - other.detach() for other in others]
    return torch.stack([torch.view_as_real(a) if a.is_complex() else a for a in apart]).abs().amax(0)


def _meta_loss(live: Live, case: Case) -> float:
    return float(live.loss(live.module(*case.meta.inputs), case.meta.targets).mean().detach())


def _values(named: Sequence[tuple[str, nn.Parameter | Tensor]]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in named}
