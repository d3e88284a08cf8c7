"""Numbers as targets: residuals on the scale that they have here, and what trusted ones say of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from metaweight.core.contracts import StudentState
from metaweight.teachers.inputs import average_rank, even_parts, in_columns, residuals
from metaweight.teachers.trusted import TrustedStates, told

NUMBER_SCALARS = 5
FAR = 5.0
"""Scales beyond which a number is as strange as any other."""
CLIP = 3.0
"""Of evidence, in nats: no single number is proof."""


class NumberScale(nn.Module):
    """Where the given numbers lie, and how large residuals are on training and on trusted rows; buffers.

    Running means of each batch's medians, 0 while not known: plain means at first, then exponential ones.
    """

    centre: Tensor
    """[D], of the given numbers."""
    spread: Tensor
    usual: Tensor
    """[D], the scale of residuals of training rows."""
    right: Tensor
    """[D], that of trusted rows."""
    tracked: Tensor
    observed: Tensor

    def __init__(
        self, numbers: int, *, decay: float = 0.9, capacity: int = 512, in_train: bool = False
    ) -> None:
        super().__init__()
        self.decay = decay
        for name in ("centre", "spread", "usual", "right"):
            self.register_buffer(name, torch.zeros(numbers))
        for name in ("tracked", "observed"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        self.trusted = TrustedStates(0, capacity=capacity, columns=2 * numbers, in_train=in_train)

    def scalars(self, state: StudentState) -> Tensor:
        """What the outputs say of numbers [U, D], about in [-1, 1]: [U, NUMBER_SCALARS].

        The residual's magnitude on the scale of trusted and of training residuals, its sign there, the
        loss's rank, and where the given number lies; 0 where a scale is not known yet.
        """
        own = residuals(state, self.usual.dtype)
        columns = [
            *(magnitude(in_scales(own, scale)) for scale in (self.right, self.usual)),
            signed(in_scales(own, self.usual)),
            average_rank(state.loss.to(own.dtype), state.among),
            signed(self.standardised(state)),
        ]
        return torch.stack(columns, dim=1)

    def standardised(self, state: StudentState) -> Tensor:
        """The given numbers [U, D], less their centre, in spreads, at most FAR of them."""
        return in_scales(in_columns(state.targets, self.centre.dtype) - self.centre, self.spread)

    def square(self) -> Tensor:
        """The square of a number's spread, the loss of a student that knows nothing; 1 while not known."""
        square = self.spread.square().mean()
        return square.where(square > 0, torch.ones_like(square))

    def track(self, state: StudentState) -> None:
        """Take a train batch."""
        self.tracked = self.tracked + 1
        given = in_columns(state.targets, self.centre.dtype)
        centre = given.quantile(0.5, dim=0)
        self.centre = self._mean(self.centre, centre, self.tracked)
        self.spread = self._mean(self.spread, robust_spread(given - centre), self.tracked)
        self.usual = self._mean(self.usual, robust_spread(residuals(state, given.dtype)), self.tracked)

    def observe(self, meta_state: StudentState) -> None:
        """Take a batch of trusted rows."""
        self.observed = self.observed + 1
        own = told(meta_state, "number", self.right.dtype)
        missed = own[:, own.shape[1] // 2 :]
        self.right = self._mean(self.right, robust_spread(missed), self.observed)
        self.trusted.put(own[:, :0], own, meta_state.index)

    def _mean(self, before: Tensor, now: Tensor, times: Tensor) -> Tensor:
        rate: Tensor = (1 / times.to(before)).clamp_min(1 - self.decay)
        return before.lerp(now, rate)


def number_evidence(attention: Tensor, held: Tensor, own: Tensor, itself: Tensor | None = None) -> Tensor:
    """How much likelier a row's residual is among trusted ones than its number, in nats: [U] in +-CLIP.

    ``attention`` [U, N], rows sum to 1; ``held`` [N, 2D] and ``own`` [U, 2D], numbers and residuals as
    ``told``.  log p(residual) - log p(number), summed over D: densities of Gaussian kernels on the trusted
    rows, by attention of residuals, in equal parts of numbers; a wrong number is one of the right ones' place
    in a wrong row.  0 where the student knows nothing; no tail of right rows counts as strange.  Kernels are
    as wide as Silverman (1986) has them, on the lesser of the standard deviation and ``robust_spread``.
    ``itself`` [U, N]: trusted rows that are none for this row, and have no attention.
    """
    numbers = held.shape[1] // 2
    apart = held - held.quantile(0.5, dim=0)
    width = 0.9 * robust_spread(apart).minimum(apart.square().mean(dim=0).sqrt()) * math.pow(len(held), -0.2)
    known = width > 0
    width = width.where(known, torch.ones_like(width))
    # the bound keeps squares finite
    kernels = ((own[:, None] - held) / width).clamp(-1e4, 1e4).square() / -2
    log_width = width.log()
    log_attention = attention.clamp_min(torch.finfo(attention.dtype).tiny).log()[:, :, None]
    log_parts = even_parts(attention, itself).log()[:, :, None]
    number = (kernels[:, :, :numbers] + log_parts).logsumexp(dim=1) - log_width[:numbers]
    missed = (kernels[:, :, numbers:] + log_attention).logsumexp(dim=1) - log_width[numbers:]
    said = known[:numbers] & known[numbers:]
    return (missed - number).where(said, torch.zeros_like(number)).sum(dim=1).clamp(-CLIP, CLIP)


def number_agreement(attention: Tensor, held: Tensor, own: Tensor) -> Tensor:
    """How far numbers, and residuals, lie from those of trusted neighbours, in their spreads: [U, 4].

    As ``number_evidence``; magnitude and sign of the distance from the attended mean, of numbers and of
    residuals.
    """
    centre = held.mean(dim=0)
    held, own = held - centre, own - centre
    mean = attention @ held
    # a tenth of the whole variance is the least: neighbours that are alike by chance prove nothing
    variance = (attention @ held.square() - mean.square()).clamp_min(0) + 0.1 * held.square().mean(dim=0)
    known = variance > 0
    apart = (own - mean) / variance.where(known, torch.ones_like(variance)).sqrt()
    apart = apart.clamp(-FAR, FAR).where(known, torch.zeros_like(apart))
    return torch.stack([f(part) for part in apart.chunk(2, dim=1) for f in (magnitude, signed)], dim=1)


def robust_spread(values: Tensor) -> Tensor:
    """A standard deviation about 0 that a minority of wrong rows leaves alone: [U, D] -> [D].

    1.4826 x the median of the magnitudes; their root mean square where most of them are 0.
    """
    middle = 1.4826 * values.abs().quantile(0.5, dim=0)
    return middle.where(middle > 0, values.square().mean(dim=0).sqrt())


def in_scales(values: Tensor, scale: Tensor) -> Tensor:
    """``values`` [U, D] in multiples of ``scale`` [D], within +-FAR; 0 where the scale is 0, not known."""
    known = scale > 0
    units = values / scale.where(known, torch.ones_like(scale))
    return units.clamp(-FAR, FAR).where(known, torch.zeros_like(units))


def magnitude(values: Tensor) -> Tensor:
    """Mean magnitude of a unit's numbers, in scales: [U, D] -> [U] from -1 at 0 to 1 at FAR."""
    return 2 * values.abs().mean(dim=1).log1p() / math.log1p(FAR) - 1


def signed(values: Tensor) -> Tensor:
    """Mean of x / (1 + |x|) over a unit's numbers: [U, D] -> [U] in (-1, 1)."""
    return (values / (1 + values.abs())).mean(dim=1)
