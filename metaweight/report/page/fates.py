"""The table of what became of the wrong labels."""

from __future__ import annotations

from metaweight.report.page.comparison import NONE, Block, Entry, Line
from metaweight.report.page.glyphs import parts_bar, swatch
from metaweight.report.page.study import Study
from metaweight.training.fates import HEADINGS, Fates


def fate_blocks(study: Study) -> list[Block]:
    """A block for each kind of noise in which labels are wrong, a line for each arm: its first seed's."""
    blocks = []
    for noise in study.noises:
        lines = []
        for style, arm in enumerate(study.arms):
            results = (run.result for run in study.runs_of(arm, noise) if run.result is not None)
            fates = next((result.fates for result in results if result.fates is not None), None)
            if fates is not None:
                lines.append(Line(arm, swatch(style), _entries(fates), ""))
        if lines:
            blocks.append(Block(noise, tuple(HEADINGS.values()), tuple(lines)))
    return blocks


def _entries(fates: Fates) -> tuple[Entry, ...]:
    bar = parts_bar({"flipped": fates.learnt, "clean": fates.corrected, "other": fates.other})
    shares = (getattr(fates, name) for name in HEADINGS)
    first, *rest = (Entry(NONE) if s is None else Entry(f"{100 * s:.0f}", s) for s in shares)
    return Entry(first.text, first.value, picture=bar), *rest
