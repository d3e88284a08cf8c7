"""How the weights of right and of wrong labels part from epoch to epoch, under three teachers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from docs.pictures.page import EDGE, LEAD, SMALL, Page
from docs.pictures.runs import DIGITS, trained
from metaweight.report.charts.panel import COLOURS, KINDS, SOFT, Panel
from metaweight.report.charts.sample_weights import CEILING, quartile_bands
from metaweight.report.page.samples import Quartiles
from metaweight.training.sample_weights import SampleWeights

TALL = 158
"""Units of a teacher's chart."""
TEACHERS = {
    "auto": "auto, the default: evidence of the trusted samples",
    "mw-net": "mw-net: a curve over the loss (Shu et al.)",
    "l2rw": "l2rw: one meta-gradient, no teacher (Ren et al.)",
}


def weights_over_time() -> Page:
    """Digits, 40 % of the labels drawn again."""
    runs = {
        teacher: trained("image", noise="uniform", noise_rate=0.4, teacher=teacher, **DIGITS)
        for teacher in TEACHERS
    }
    return draw({teacher: run.samples for teacher, run in runs.items()})


def draw(runs: Mapping[str, SampleWeights]) -> Page:
    """A chart for each teacher, one below the other."""
    kinds = {
        teacher: {k: by_epoch(samples, k) for k in KINDS if k != "all"} for teacher, samples in runs.items()
    }
    first = next(iter(kinds))
    right, wrong = (float(kinds[first][kind].median[-1]) for kind in ("clean", "flipped"))
    title = f"With {first} wrong labels end at a mean weight of {wrong:.2f}, right ones at {right:.2f}"
    lead = "Mean weight by epoch; the band holds the middle half of the samples. 1 is an ordinary sample."
    page = Page(title, lead, TALL * len(runs))
    for place, (teacher, quartiles) in enumerate(kinds.items()):
        y = page.top + TALL * place
        page.write(EDGE, y + 8, TEACHERS.get(teacher, teacher), LEAD, colour=COLOURS[0], weight="bold")
        top = max([CEILING, *(float(np.nanmax(own.high)) for own in quartiles.values())])
        last = place == len(kinds) - 1
        panel = Panel(
            "", "", title, "epoch" if last else "", "weight", quartile_bands(quartiles, top), wide=True
        )
        axes = page.place(panel, y + 12, TALL - 6)
        named(axes, quartiles, runs[teacher].warmup, first=not place)
    return page


def by_epoch(samples: SampleWeights, kind: str) -> Quartiles:
    """Lower quartile, mean and upper quartile of the right or of the wrong labels."""
    own = samples.own
    assert own.flipped is not None
    mask = own.flipped if kind == "flipped" else ~own.flipped
    values: Tensor = own.weights[:, mask].double()
    low, high = (torch.nanquantile(values, share, dim=1).numpy() for share in (0.25, 0.75))
    return Quartiles(low, values.nanmean(dim=1).numpy(), high)


def named(axes: Any, quartiles: Mapping[str, Quartiles], warmup: int, *, first: bool) -> None:
    """What the lines are, beside them in the first chart, and where the teacher has no say."""
    if warmup:
        axes.axvspan(1, warmup + 0.5, color=COLOURS[7], alpha=0.13, linewidth=0, zorder=0)
    if not first:
        return
    if warmup:
        axes.annotate("warm-up", (1, 0), (3, 4), textcoords="offset points", fontsize=SMALL, color=SOFT)
    for kind, word, up in (("clean", "right labels", 6), ("flipped", "wrong labels", 8)):
        own = quartiles[kind]
        place = {"textcoords": "offset points", "ha": "right", "fontsize": SMALL, "weight": "bold"}
        at = float(own.high[-1] if kind == "flipped" else own.median[-1])
        axes.annotate(word, (len(own.median), at), (-4, up), color=KINDS[kind], **place)
