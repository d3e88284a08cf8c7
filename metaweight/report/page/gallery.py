"""The samples with the lowest mean weights, as cards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from metaweight.report.own_rows import name_of_class
from metaweight.report.page.exhibits import Exhibit, exhibits
from metaweight.report.page.glyphs import sparkline
from metaweight.report.page.samples import LowSample, WeightView


@dataclass(frozen=True)
class Card:
    """One sample."""

    origin: str
    """Where its owner finds it; empty where that is not known."""
    index: int
    """Position in the data set, which code uses."""
    mean: str
    exhibit: Exhibit
    given: str
    predicted: str
    clean: str
    """Label names, empty where they are not known."""
    verdict: str
    """``flipped``, ``clean``, or empty where it is not known."""
    history: Markup
    influence: str = ""
    cells: tuple[tuple[str, str], ...] = ()
    """Columns of its owner's with their cells."""


@dataclass(frozen=True)
class Wall:
    """The cards of one run."""

    title: str
    cards: tuple[Card, ...]
    caption: str
    note: str


def wall(view: WeightView, title: str) -> Wall:
    """The cards of a run's samples with the lowest weights."""
    display = exhibits(view.run, view.lowest)
    top = max([2.0, *(w for s in view.lowest for w in s.history if math.isfinite(w))])
    cards = [card(s, display.samples.get(s.row, Exhibit()), display.classes, top) for s in view.lowest]
    verdicts = [s.flipped for s in view.lowest if s.flipped is not None]
    seed = view.run.config.seed
    caption = f"The {len(cards)} lowest mean weights of {view.samples:,} training samples, seed {seed}."
    if verdicts:
        caption += f" {counted(sum(verdicts), len(verdicts))}."
    return Wall(title, tuple(cards), caption, display.note)


def counted(bad: int, shown: int) -> str:
    """``All of them are bad``, ``3 of them are bad``."""
    number = {0: "None", shown: "All"}.get(bad, str(bad))
    return f"{number} of them {'is' if bad == 1 else 'are'} bad"


def card(sample: LowSample, exhibit: Exhibit, classes: Sequence[str], top: float) -> Card:
    """Of one sample; ``top``: the weight at the upper end of its line."""

    def named(label: int | None) -> str:
        return "" if label is None else name_of_class(label, classes)

    verdict = "" if sample.flipped is None else "flipped" if sample.flipped else "clean"
    label = f"weight over {len(sample.history)} epochs, mean {sample.mean:.2f}"
    return Card(
        "" if sample.origin is None else str(sample.origin),
        sample.index,
        f"{sample.mean:.3f}" if sample.mean >= 0.001 or sample.mean == 0 else f"{sample.mean:.1e}",
        exhibit,
        named(sample.given),
        named(sample.predicted),
        named(sample.clean),
        verdict,
        sparkline(sample.history, top=top, label=label),
    )
