"""What the final weights of right and of wrong labels look like under three kinds of bad data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from docs.pictures.page import EDGE, LEAD, SMALL, Page
from docs.pictures.runs import DIGITS, trained
from metaweight.core.weights import auroc
from metaweight.report.charts.panel import COLOURS, KINDS, Panel
from metaweight.report.charts.sample_weights import CEILING, weight_histogram

TALL = 156
"""Units of a chart."""
BAD = {
    "uniform": ("Any other digit, drawn at random", 0.4),
    "flip": ("Each digit mistaken for one other", 0.4),
    "cluster": ("The next digit, for one way of writing each", 0.8),
}
"""Kind of noise -> in words, and its rate."""


@dataclass(frozen=True)
class Found:
    """Final weights [n] under one kind of bad data."""

    weights: Tensor
    flipped: Tensor

    @property
    def area(self) -> float:
        """The AUROC of the weights."""
        return auroc(self.weights, self.flipped)


def what_weights_find() -> Page:
    """Digits under three kinds of wrong labels, the default teacher."""
    found = {}
    for noise, (heading, rate) in BAD.items():
        own = trained("image", noise=noise, noise_rate=rate, **DIGITS).samples.own
        assert own.flipped is not None
        found[heading] = Found(own.mean_weight(), own.flipped)
    return draw(found)


def draw(found: Mapping[str, Found]) -> Page:
    """A histogram for each kind, one below the other."""
    least = min(own.area for own in found.values())
    title = f"In {100 * least:.0f} of 100 comparisons or more the wrong label has the lower weight"
    lead = (
        "Weights after training, digits with three kinds of wrong labels. AUROC: how often a right label "
        "weighs more than a wrong one; 0.5 is chance, 1 is perfect."
    )
    page = Page(title, lead, TALL * len(found) + 20)
    for kind, word, x in (("flipped", "wrong labels", EDGE), ("clean", "right labels", EDGE + 120)):
        page.box(x, page.top - 2, 14, 14, KINDS[kind], alpha=0.6)
        page.write(x + 20, page.top + 5, word, SMALL, colour=KINDS[kind], weight="bold")
    top = max([CEILING, *(float(own.weights.max()) for own in found.values())])
    for place, (heading, own) in enumerate(found.items()):
        y = page.top + 20 + TALL * place
        page.write(EDGE, y + 10, heading, LEAD, colour=COLOURS[0], weight="bold")
        said = f"{float(own.flipped.double().mean()):.0%} wrong, AUROC {own.area:.2f} (bars: % of each kind)"
        last = place == len(found) - 1
        panel = Panel(
            "",
            "",
            heading,
            "weight after training" if last else "",
            said,
            weight_histogram(own.weights, own.flipped, top),
            wide=True,
        )
        page.place(panel, y + 14, TALL - 8)
    return page
