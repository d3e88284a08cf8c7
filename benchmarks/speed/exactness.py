"""How far a variant's teacher gradient is from that of ``higher`` in float64."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.speed.iterate import prepare
from benchmarks.speed.start import in_dtype, random_pair, warm_start
from benchmarks.speed.variants import FULL, Setting, Variant

MOST = 32
"""Samples of a batch at most: the deviation needs no more."""


@dataclass(frozen=True)
class Deviation:
    """Relative errors ||g - g*|| / ||g*|| of the teacher's gradient g."""

    exact: float | None
    """With the variant in float64: the method's own error.  None where it has another precision."""
    timed: float
    """In the precision that is timed."""


class Exactness:
    """Deviations in one setting, each gradient computed once.

    All see the same warm student, teacher and K different train batches, at most 32 samples each, and no
    dropout.
    """

    def __init__(self, setting: Setting) -> None:
        sizes = {"batch": min(MOST, setting.batch), "meta_batch": min(MOST, setting.meta_batch)}
        self.setting = replace(setting, **sizes)
        self._seen: dict[tuple[Variant, torch.dtype], Tensor] = {}

    def of(self, variant: Variant) -> Deviation | None:
        """The deviation of a variant; None for plain training.

        Raises what its engine raises.
        """
        if variant.engine is None and variant.peer is None:
            return None
        variant = replace(variant, every=1, meta_batch=None)  # neither moves the first gradient
        reference = self.gradient(Variant("higher", "gradient", unroll=variant.unroll), torch.float64)

        def relative(dtype: torch.dtype) -> float:
            off = self.gradient(variant, dtype) - reference
            return float(off.norm() / reference.norm())

        full = variant.precision == FULL and not variant.compile
        return Deviation(relative(torch.float64) if full else None, relative(torch.get_default_dtype()))

    def gradient(self, variant: Variant, dtype: torch.dtype) -> Tensor:
        """The teacher's gradient in a variant's first iteration, flat, as float64."""
        key = (variant, dtype)
        if key not in self._seen:
            setting = self.setting
            iterate = prepare(variant, warm_start(setting, dtype), setting)
            generator = torch.Generator().manual_seed(setting.seed + 1)
            pairs = [random_pair(setting, generator) for _ in range(variant.unroll)]
            train = [in_dtype(batch, dtype) for batch, _ in pairs]
            found = iterate(train, in_dtype(pairs[0][1], dtype))
            self._seen[key] = torch.cat([g.detach().flatten() for g in found]).double()
        return self._seen[key]
