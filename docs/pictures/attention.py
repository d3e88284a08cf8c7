"""Which layer of the student the teacher ``attention`` looks at, for right and for wrong labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from docs.pictures.page import EDGE, LEAD, SMALL, Page
from docs.pictures.runs import DIGITS, trained
from metaweight.report.charts.panel import COLOURS, Panel
from metaweight.report.charts.shares import attention_over_layers
from metaweight.training.callbacks import Callback, Run

TALL = 196
"""Units of a chart."""
LABELS = {"flipped": "Samples with a wrong label", "clean": "Samples with a right label"}


@dataclass(frozen=True)
class Attention:
    """Shares of the layers by epoch."""

    layers: tuple[str, ...]
    """From early to deep."""
    shares: Mapping[str, NDArray[np.float64]]
    """Kind of label -> [T, L], rows sum to 1."""


class LayersLookedAt(Callback):
    """Keeps each sample's share of attention on the layers, after each epoch in which the teacher learns."""

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.epochs: list[tuple[torch.Tensor, torch.Tensor]] = []
        """Index [n] and shares [n, L]."""

    def on_epoch(self, run: Run, row: Mapping[str, float]) -> None:
        """One pass over the training set, without a trace."""
        if run.epoch <= self.warmup:
            return
        teacher: Any = run.reweighter.teacher
        found = []
        for place in range(len(run.train)):  # type: ignore[attr-defined]
            batch = run.train.batch(0, place)  # type: ignore[attr-defined]
            state = run.reweighter.student.glance(batch).state(run.done / run.epochs)
            with torch.no_grad():
                found.append((batch.index, teacher.attention_map(state)))
        self.epochs.append((torch.cat([i for i, _ in found]), torch.cat([s for _, s in found])))


def attention_over_time() -> Page:
    """Digits, 40 % of the labels drawn again."""
    looked = LayersLookedAt(warmup=3)
    run = trained("image", (looked,), noise="uniform", noise_rate=0.4, teacher="attention", **DIGITS)
    flipped = torch.zeros(run.prepared.samples, dtype=torch.bool)
    flipped[run.prepared.own] = run.prepared.noise.flipped
    shares = {
        kind: np.array([s[flipped[i] == (kind == "flipped")].mean(dim=0).numpy() for i, s in looked.epochs])
        for kind in LABELS
    }
    return draw(Attention(run.layers, shares))


def draw(found: Attention) -> Page:
    """A chart for wrong and one for right labels."""
    last = {kind: shares[-1] for kind, shares in found.shares.items()}
    layer = int(np.argmax(last["flipped"] - last["clean"]))
    wrong, right = (f"{last[kind][layer]:.0%}" for kind in ("flipped", "clean"))
    title = (
        f"Wrong labels draw {wrong} of the attention to the layer “{found.layers[layer]}”, right ones {right}"
    )
    lead = "Share of the teacher's attention on each layer of the student, by epoch in which it learns."
    page = Page(title, lead, TALL * len(LABELS))
    for place, (kind, heading) in enumerate(LABELS.items()):
        y = page.top + TALL * place
        page.write(EDGE, y + 8, heading, LEAD, colour=COLOURS[0], weight="bold")
        shares = found.shares[kind]
        stack = attention_over_layers(shares.tolist(), found.layers, found.layers)
        panel = Panel("", "", heading, "epoch" if place else "", "share of attention", stack, wide=True)
        _label(page.place(panel, y + 12, TALL - 6), shares[-1], found.layers)
    return page


def _label(axes: Any, last: NDArray[np.float64], layers: Sequence[str]) -> None:
    """Each layer's name on its own area."""
    tops = last.cumsum()
    for number, name in enumerate(layers):
        if last[number] > 0.1:
            middle = tops[number] - last[number] / 2
            look = {"fontsize": SMALL, "weight": "bold", "color": "white", "ha": "right", "va": "center"}
            axes.text(axes.get_xlim()[1] - 0.25, middle, name, **look)
