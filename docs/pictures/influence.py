"""What the weight of each sample of one batch would do to the trusted loss: its hypergradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import metaweight as mw
from docs.pictures.cards import STEP, Card, draw_cards
from docs.pictures.page import EDGE, SMALL, WIDTH, Page
from docs.pictures.runs import DIGITS
from metaweight.report.charts.panel import COLOURS, KINDS
from metaweight.tasks import tasks

EPOCHS = 3
"""Of plain training before."""
ENDS = 6
DOT = 9.0
"""Diameter of a sample on the axis, in units."""
SWARM = 162


@dataclass(frozen=True)
class Influences:
    """Of one batch, U samples."""

    cards: Sequence[Card]
    helps: NDArray[np.float64]
    """[U], by how much the trusted loss falls for a weight that is larger by 1."""


def influence() -> Page:
    """One batch of digits after three epochs of plain training."""
    torch.set_num_threads(1)
    task = tasks["image"]
    config = task.config(noise="uniform", noise_rate=0.4, teacher="uniform", **DIGITS)
    prepared = task.prepare(config)
    reweighter, (train, meta) = task.build(config, prepared), task.sources(config, prepared)
    for epoch in range(EPOCHS):
        for place in range(len(train)):
            reweighter.step(train.batch(epoch, place), teach=False)
    batch = train.batch(EPOCHS, 0)
    assert batch.index is not None
    weights = torch.ones(len(batch.index), requires_grad=True)
    result = mw.hypergradient(
        reweighter.student, reweighter.optimizer, batch, meta.batch(0, 0), lambda _: weights, [weights]
    )
    images, right = prepared.images.train_images, prepared.images.train_labels
    given = prepared.labels
    cards = [
        Card(images[at, 0].numpy(), f"“{int(given[at])}”", bool(given[at] != right[at]))
        for at in batch.index.tolist()
    ]
    return draw(Influences(cards, -result.grads[0].double().numpy()))


def draw(found: Influences) -> Page:
    """The samples on an axis, between those that would hurt and help most."""
    order = np.argsort(found.helps, kind="stable")
    worst = [found.cards[at] for at in order[:ENDS]]
    best = [found.cards[at] for at in order[::-1][:ENDS]]
    bad, good = (sum(card.wrong for card in end) for end in (worst, best))
    lead = (
        f"A batch of {len(found.cards)} digits. One meta-gradient says for each: would the loss on trusted "
        "digits fall if it weighed more? Nobody told it which labels are wrong."
    )
    heading = 22
    page = Page(
        f"{_many(bad)} of the {ENDS} most harmful samples have wrong labels, "
        f"{_many(good).lower()} of the most helpful",
        lead,
        2 * (heading + STEP) + SWARM,
    )
    page.write(
        EDGE, page.top + 6, f"The {ENDS} that would hurt most, with the label that they came with", SMALL
    )
    draw_cards(page, page.top + heading, worst)
    swarm(page, page.top + heading + STEP, found)
    low = page.top + heading + STEP + SWARM
    page.write(EDGE, low + 6, f"The {ENDS} that would help most", SMALL)
    draw_cards(page, low + heading, best)
    return page


def _many(count: int) -> str:
    return {0: "None", ENDS: "All"}.get(count, str(count))


def swarm(page: Page, top: float, found: Influences) -> None:
    """A dot a sample: right labels above the axis, wrong ones below."""
    width = WIDTH - 2 * EDGE - 2 * DOT
    axes = page.inset(EDGE + DOT, top, width, SWARM - 40)
    most = float(np.abs(found.helps).max())
    axes.set(xlim=(-most, most), ylim=(-1, 1), yticks=[], xticks=[])
    axes.grid(False)
    axes.spines.bottom.set_visible(False)
    axes.axhline(0, color=COLOURS[7], linewidth=1, zorder=1)
    axes.plot([0, 0], [-1, 1], color=COLOURS[7], linewidth=1, linestyle=(0, (2, 3)), zorder=1)
    wrong = np.array([card.wrong for card in found.cards])
    unit = 2 / (SWARM - 40)
    for kind, mask, side, shape in (("clean", ~wrong, 1, "o"), ("flipped", wrong, -1, "D")):
        x = found.helps[mask]
        heights = stacked(x * width / (2 * most), DOT)
        look: dict[str, Any] = {"color": KINDS[kind], "markeredgewidth": 0, "clip_on": False}
        y = side * unit * (heights + DOT * 0.75)
        axes.plot(x, y, shape, markersize=DOT - (1 if shape == "o" else 2.6), alpha=0.85, **look)
    page.write(EDGE, top + 12, "● right labels", SMALL, colour=KINDS["clean"])
    page.write(EDGE, top + SWARM - 52, "◆ wrong labels", SMALL, colour=KINDS["flipped"])
    page.write(EDGE, top + SWARM - 28, "← hurts the trusted loss", SMALL)
    page.write(WIDTH - EDGE, top + SWARM - 28, "helps it →", SMALL, ha="right")


def stacked(x: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """How far each dot of diameter ``size`` at ``x`` [n] must move from 0 to touch none placed before."""
    heights = np.zeros(len(x))
    placed: list[int] = []
    for at in np.argsort(np.abs(x), kind="stable").tolist():
        near = [other for other in placed if abs(x[other] - x[at]) < size]
        height = 0.0
        while any((x[o] - x[at]) ** 2 + (heights[o] - height) ** 2 < size**2 for o in near):
            height += size / 4
        heights[at] = height
        placed.append(at)
    return heights
