"""Whether a run's weights can be believed: what its probes say, and two signs that need no probes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metaweight.core.weights import auroc
from metaweight.report.statistics.mixture import Bins, wrong_rows
from metaweight.training.sample_weights import SampleWeights

Array = np.ndarray[Any, Any]
Verdict = Literal["untested", "believable", "none stands out", "too few", "chance", "inverted"]

LEVEL = (0.025, 0.975)
Z = 1.959964
"""95 % of a normal distribution lie within so many standard deviations."""
RISING = 0.3
"""Rank correlation of weight and loss from which on it is said."""
TOGETHER = 0.1
"""Span of nine tenths of the weights, in mean weights, below which it is said."""
PROMISING = 0.75
"""An AUROC that a test must rule out before it says "chance"."""
WIDE = 0.8
"""Width of the interval of a precision that says nothing."""
DOUBT = 0.1
"""Chance that most rows below the cut-off are wrong, above which "none stands out" is not said."""
UNTESTED = (
    "Whether these weights find wrong rows was not tested: metaweight train --probes 0.05 (in Python "
    "probes=0.05) mixes in trusted rows, half of them with a wrong label, and says how well they are told "
    "apart."
)
INSTEAD = "Do not act on them: try others (metaweight compare --arms memory recall knn uniform) or cleanlab."


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def percent(self) -> str:
        """``83 (71 to 92)``."""
        return f"{100 * self.value:.0f} ({100 * self.low:.0f} to {100 * self.high:.0f})"


@dataclass(frozen=True)
class Belief:
    """What is known of the weights of one run; figures are None where no probe tells them."""

    verdict: Verdict
    rows: int
    """The user's rows that have a weight."""
    probes: int
    auroc: Estimate | None = None
    """Probability that a right probe weighs more than a wrong one."""
    wrong: Estimate | None = None
    """Share of wrong rows among the user's."""
    cutoff: float | None = None
    """Rows of this weight or less are suspects; None where the weights are not to be believed."""
    below: int = 0
    """Rows of this weight or less."""
    precision: Estimate | None = None
    """Share of wrong ones among these."""
    correlation: float | None = None
    """Rank correlation of weight and loss; None where either does not vary."""
    span: float = 0.0
    """From the 5 % to the 95 % quantile of the weights, by their mean."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """For people, the verdict first."""
        return (_verdict(self), *_signs(self))


def belief(samples: SampleWeights) -> Belief | None:
    """What probes and losses say of the weights.

    None where no row has a weight, and where all weigh the same and there are no probes: nothing was learnt
    that could be believed.
    """
    means, losses = samples.mean_weight().double(), samples.mean_loss().double()
    seen = means.isfinite()
    own = seen if samples.probe is None else seen & (samples.probe == 0)
    weights, loss = means[own].numpy(), losses[own].numpy()
    if not len(weights) or (samples.probe is None and np.ptp(weights) == 0):
        return None
    signs: dict[str, Any] = {"correlation": _correlation(weights, loss), "span": _span(weights)}
    right, wrong = (
        means[seen & (samples.probe == kind)].numpy() if samples.probe is not None else means[:0].numpy()
        for kind in (1, 2)
    )
    if not len(right) or not len(wrong):
        return Belief("untested", len(weights), len(right) + len(wrong), **signs)
    return _tested(weights, right, wrong, signs)


def _tested(weights: Array, right: Array, wrong: Array, signs: dict[str, Any]) -> Belief:
    about = {"rows": len(weights), "probes": len(right) + len(wrong), **signs}
    area = auroc_of(right, wrong)
    about["auroc"] = area
    if area.high < 0.5:
        return Belief("inverted", **about)
    if area.low <= 0.5:
        return Belief("too few" if area.high >= PROMISING else "chance", **about)
    bins = Bins.of(weights, right, wrong)
    draws = wrong_rows(bins)
    about["wrong"] = _estimate(draws.sum(axis=1) / len(weights))
    best = bins.best()
    if best is None:
        return Belief("none stands out", **about)
    below = int(bins.rows[: best + 1].sum())
    shares = draws[:, : best + 1].sum(axis=1) / below
    precision = _estimate(shares)
    if precision.value < 0.5:
        sure = (shares >= 0.5).mean() <= DOUBT
        return Belief("none stands out" if sure else "too few", **about)
    if precision.high - precision.low > WIDE:
        return Belief("too few", **about)
    cutoff = float(bins.edges[best])
    return Belief("believable", **about, cutoff=cutoff, below=below, precision=precision)


def _estimate(draws: Array) -> Estimate:
    low, high = np.quantile(draws, LEVEL)
    return Estimate(float(draws.mean()), float(low), float(high))


def auroc_of(right: Array, wrong: Array) -> Estimate:
    """Probability that a right probe [r] weighs more than a wrong one [w], ties half, with its interval.

    Newcombe's score interval (2006, method 5): the spread is Hanley and McNeil's at the end of the interval,
    not at the estimate, so that it has a width where the probes are parted without a mistake.
    """
    import torch

    kinds = np.repeat([False, True], [len(right), len(wrong)])
    area = auroc(torch.from_numpy(np.concatenate([right, wrong])), torch.from_numpy(kinds))
    return Estimate(area, _end(area, len(right), len(wrong), -1), _end(area, len(right), len(wrong), 1))


def _end(area: float, r: int, w: int, side: int) -> float:
    """The end of the interval on one side, by bisection: where the estimate lies Z spreads away."""
    near, far = area, 0.5 + 0.5 * side
    for _ in range(60):
        middle = (near + far) / 2
        inside = abs(area - middle) <= Z * _spread(middle, r, w)
        near, far = (middle, far) if inside else (near, middle)
    return near


def _spread(area: float, r: int, w: int) -> float:
    half = (r + w) / 2 - 1
    more = 1 + half * ((1 - area) / (2 - area) + area / (1 + area))
    return math.sqrt(area * (1 - area) * more / (r * w))


def _correlation(weights: Array, loss: Array) -> float | None:
    known = np.isfinite(loss)
    if known.sum() < 3 or np.ptp(weights[known]) == 0 or np.ptp(loss[known]) == 0:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(weights[known], loss[known]).statistic)


def _span(weights: Array) -> float:
    low, high = np.quantile(weights, (0.05, 0.95))
    mean = float(weights.mean())
    return float(high - low) / mean if mean > 0 else 0.0


def _verdict(found: Belief) -> str:
    if found.auroc is None:
        return UNTESTED
    area = f"AUROC of {found.probes} probes {found.auroc.value:.2f} "
    area += f"({found.auroc.low:.2f} to {found.auroc.high:.2f}; 0.5 is chance)"
    if found.verdict == "inverted":
        return f"These weights are inverted: wrong rows weigh more than right ones; {area}. {INSTEAD}"
    if found.verdict == "chance":
        return f"These weights are no better than chance here: {area}. {INSTEAD}"
    if found.verdict == "too few":
        few = f"{found.probes} probes are too few to tell"
        if found.wrong is None:
            return f"{few} what these weights are worth: {area}. Plant more."
        return f"{few} how many of the rows of little weight are wrong: {area}. Plant more."
    assert found.wrong is not None
    share = f"of 100 rows in all about {found.wrong.percent} are"
    if found.precision is None:
        return f"There is no weight below which most rows are wrong; {share}; {area}."
    return (
        f"Of 100 rows of weight {found.cutoff:.3g} or less about {found.precision.percent} are wrong: "
        f"{found.below:,} of {found.rows:,} rows; {share}; {area}. In brackets stand 95 % intervals."
    )


def _signs(found: Belief) -> tuple[str, ...]:
    signs = []
    if found.correlation is not None and found.correlation >= RISING:
        signs.append(
            f"The weights rise with the loss (rank correlation {found.correlation:.2f}): rows that fit "
            "badly, as wrong ones do, weigh more. That is what inverted weights look like."
        )
    if found.span < TOGETHER:
        signs.append(
            f"The weights lie together: nine tenths of them span {found.span:.1%} of their mean. Their order "
            "may be right, but the student trains almost as with equal weights."
        )
    return tuple(signs)
