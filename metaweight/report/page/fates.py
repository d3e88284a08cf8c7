"""The table of what became of the wrong labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from metaweight.report.page.comparison import NONE, Block, Entry, Line
from metaweight.report.page.glyphs import parts_bar, swatch
from metaweight.report.page.samples import WeightView
from metaweight.report.page.study import Study
from metaweight.training.fates import HEADINGS, Fates


def fate_blocks(study: Study, views: Sequence[WeightView]) -> list[Block]:
    """A block for each kind of noise in which labels are wrong, a line for each arm that kept its say."""
    found: dict[str, list[Line]] = {}
    for view in views:
        if view.fates is not None:
            arm = view.run.arm
            line = Line(arm, swatch(study.arms.index(arm)), _entries(view.fates), "")
            found.setdefault(view.run.noise, []).append(line)
    return [Block(noise, tuple(HEADINGS.values()), tuple(lines)) for noise, lines in found.items()]


def _entries(fates: Fates) -> tuple[Entry, ...]:
    bar = parts_bar({"flipped": fates.learnt, "clean": fates.corrected, "other": fates.other})
    shares = (getattr(fates, name) for name in HEADINGS)
    first, *rest = (Entry(NONE) if math.isnan(s) else Entry(f"{100 * s:.0f}", s) for s in shares)
    return Entry(first.text, first.value, picture=bar), *rest
