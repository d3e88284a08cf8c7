"""Pairs that no student should train on: empty, over-long or lopsided ones; a count for every reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from metaweight.core.plain_text import is_empty, same
from metaweight.data.origins import LeftOut
from metaweight.data.text.bitext import Bitext
from metaweight.data.text.left_out import left_out

SHORT = 8
"""A longer side of fewer words passes any ratio: "Stop!" is "Hör sofort damit auf!", and rightly so."""
SPACED = 15
"""Characters a word, in the median sentence, above which a side is one of a language without spaces."""


@dataclass(frozen=True, eq=False)
class Filtered:
    """What a filter kept, and why the rest went."""

    kept: Tensor
    """Positions [n] int64, sorted, in the bitext that was filtered."""
    bitext: Bitext
    """The pairs at ``kept``."""
    counts: Mapping[str, int]
    """Reason -> pairs dropped for it, every reason that was checked; a pair counts for its first one."""
    left_out: LeftOut
    """The pairs that went, in their order, each with its origin and reason."""

    @property
    def dropped(self) -> int:
        """How many pairs went, for any reason."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.counts.items() if count)
        return f"kept {len(self.kept)} of {len(self.kept) + self.dropped} pairs" + (
            f", dropped: {reasons}" if reasons else ""
        )


def filter_bitext(
    bitext: Bitext,
    *,
    max_words: int | None = 150,
    max_characters: int | None = 1500,
    max_ratio: float | None = 4.0,
    drop_copies: bool = False,
) -> Filtered:
    """Drop the pairs of a bitext that are empty, too long or lopsided; None switches a limit off.

    Words are what stands between white space.  In order: ``empty``, a side that shows nothing (white space
    of any kind, zero-width and control characters: see ``is_empty``); ``too-long``, a side above
    ``max_words`` or ``max_characters``; ``ratio``, one side with more than ``max_ratio`` times the words of
    the other, where the longer has at least 8 (a ratio of two or three words says nothing) and both sides of
    the bitext are written with spaces (15 characters a word or less in the median sentence); ``copy`` with
    ``drop_copies``: both sides say the same (see ``same``).  Raises ValueError for a limit below 1.
    """
    limits = {"max_words": max_words, "max_characters": max_characters, "max_ratio": max_ratio}
    for option, limit in limits.items():
        if limit is not None and not limit >= 1:
            raise ValueError(f"{option} is at least 1, or None for no limit, got {limit!r}")
    ratio = max_ratio if _spaced(bitext.source) and _spaced(bitext.target) else None
    counts = dict.fromkeys(("empty", "too-long", "ratio", *(("copy",) if drop_copies else ())), 0)
    survivors, dropped, reasons = [], [], []
    for position, pair in enumerate(zip(bitext.source, bitext.target, strict=True)):
        words = sorted(len(side.split()) for side in pair)
        if not words[0] or is_empty(pair[0]) or is_empty(pair[1]):
            kind, reason = "empty", _empty(*pair)
        elif max_words is not None and words[1] > max_words:
            kind, reason = "too-long", f"a side has {words[1]:,} words, more than {max_words:,}"
        elif max_characters is not None and (length := max(map(len, pair))) > max_characters:
            kind, reason = "too-long", f"a side has {length:,} characters, more than {max_characters:,}"
        elif ratio is not None and words[1] >= SHORT and words[1] > ratio * words[0]:
            kind, reason = (
                "ratio",
                f"the sides have {words[0]} and {words[1]} words, more than 1 to {ratio:g}",
            )
        elif drop_copies and same(*pair):
            kind, reason = "copy", "both sides say the same"
        else:
            survivors.append(position)
            continue
        counts[kind] += 1
        dropped.append(position)
        reasons.append(reason)
    return Filtered(
        torch.tensor(survivors, dtype=torch.int64),
        bitext.select(survivors),
        counts,
        left_out(bitext, dropped, reasons),
    )


def _empty(source: str, target: str) -> str:
    if is_empty(source) and is_empty(target):
        return "both sides are empty"
    return f"the {'source' if is_empty(source) else 'target'} is empty"


def _spaced(side: Sequence[str]) -> bool:
    # the median, so that a few broken lines decide nothing
    lengths = [len(sentence) / words for sentence in side if (words := len(sentence.split()))]
    return not lengths or median(lengths) <= SPACED
