"""Bitext: aligned sentences of two languages, the value that the rooms of text pass on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from metaweight.core.plain_text import plain
from metaweight.data.origins import Origins


@dataclass(frozen=True)
class Bitext:
    """Sentence pairs: pair i is ``source[i]`` and ``target[i]``.

    Any sequences of strings are taken and kept as tuples; two bitexts with the same sentences are equal,
    wherever they came from.  Raises ValueError where the lengths differ, TypeError for one string where a
    sequence of them belongs.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    origins: Origins | None = field(default=None, compare=False)
    """Where each pair came from, where that is known."""

    def __post_init__(self) -> None:
        for side in ("source", "target"):
            sentences = getattr(self, side)
            if isinstance(sentences, str):
                raise TypeError(f"{side} is a sequence of sentences, got one string: {sentences[:40]!r}")
            object.__setattr__(self, side, tuple(sentences))
        if len(self.source) != len(self.target):
            raise ValueError(
                f"{len(self.source)} source and {len(self.target)} target sentences; a pair has one of each"
            )
        if self.origins is not None and len(self.origins) != len(self.source):
            raise ValueError(f"{len(self.origins)} origins of {len(self.source)} pairs; each has one")

    def __len__(self) -> int:
        return len(self.source)

    @cached_property
    def plain(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Sources and targets as they are compared (see ``plain_text``): what shows alike is equal."""
        return tuple(map(plain, self.source)), tuple(map(plain, self.target))

    @property
    def places(self) -> Origins:
        """The origins; where they are not known, the pairs of this bitext counted from 1."""
        return Origins.of("pairs", range(1, len(self) + 1)) if self.origins is None else self.origins

    def swapped(self) -> Bitext:
        """The pairs in the other direction."""
        return Bitext(self.target, self.source, self.origins)

    def select(self, positions: Tensor | Sequence[int]) -> Bitext:
        """The pairs at ``positions`` [n] (integers from 0, repeats allowed), in that order.

        Raises TypeError for a tensor that is not of integers, ValueError for one that is not of one
        dimension, IndexError for a position beyond the ends.
        """
        places = _whole_numbers(positions) if isinstance(positions, Tensor) else positions
        for position in places:
            if not 0 <= position < len(self):
                raise IndexError(f"a bitext of {len(self)} pairs has no position {position}")
        return Bitext(
            tuple(self.source[position] for position in places),
            tuple(self.target[position] for position in places),
            None if self.origins is None else self.origins.select(positions),
        )

    def join(self, other: Bitext) -> Bitext:
        """The pairs of this bitext, then those of the other; origins are kept where both have them."""
        known = self.origins is not None and other.origins is not None
        origins = self.origins.join(other.origins) if known else None  # type: ignore[union-attr, arg-type]
        return Bitext(self.source + other.source, self.target + other.target, origins)


def _whole_numbers(positions: Tensor) -> list[int]:
    if positions.dtype == torch.bool or positions.is_floating_point() or positions.is_complex():
        raise TypeError(f"positions are integers, got {positions.dtype}; a mask has mask.nonzero()[:, 0]")
    if positions.dim() != 1:
        raise ValueError(f"positions have shape [n], got {tuple(positions.shape)}")
    return [int(position) for position in positions.tolist()]
