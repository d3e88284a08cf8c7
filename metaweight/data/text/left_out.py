"""Pairs that a run leaves out, as the list of them has it."""

from __future__ import annotations

from collections.abc import Sequence

from metaweight.data.origins import LeftOut
from metaweight.data.text.bitext import Bitext

LONGEST = 300
"""Characters of a side that are kept: enough to recognise it."""


def left_out(pairs: Bitext, positions: Sequence[int], reasons: str | Sequence[str]) -> LeftOut:
    """The pairs at ``positions`` [n], left out for ``reasons``: one for all, or n."""
    told = (reasons,) * len(positions) if isinstance(reasons, str) else tuple(reasons)
    texts = (f"{_short(pairs.source[place])} ||| {_short(pairs.target[place])}" for place in positions)
    return LeftOut(pairs.places.select(positions), told, tuple(texts))


def _short(sentence: str) -> str:
    return sentence if len(sentence) <= LONGEST else f"{sentence[:LONGEST]}..."
