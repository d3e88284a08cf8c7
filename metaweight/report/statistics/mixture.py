"""How many wrong rows lie where among the weights: the rows as a mixture of right and wrong probes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BINS = 8
"""Parts of equal size that the weights are cut into; with more, a part without a probe is anybody's guess."""
PRIOR = 0.5
"""Right probes that each part counts as having had before (Jeffreys)."""
TRUST = 0.1
"""What a wrong probe counts as, of which each part had one before: mistakes that were made for the test are
not quite like those in the data, while a right probe is like any right row."""
MOST = 1000
"""Rows that the sampler thins the data to: more would slow its walk, and teach it less than a few probes."""
CHAINS, BURN, KEPT, EACH = 48, 150, 75, 4


@dataclass(frozen=True)
class Bins:
    """Rows and probes counted in parts of the weights, the lowest first; K parts."""

    edges: Array
    """[K - 1], the highest weight of each part but the last."""
    rows: Array
    """[K] int64, of the user's rows."""
    right: Array
    """[K] int64, of the probes with their right label."""
    wrong: Array
    """[K] int64, of those with a wrong one."""

    @classmethod
    def of(cls, rows: Array, right: Array, wrong: Array) -> Bins:
        """Count finite weights [n], [r] and [w]; edges are weights of rows, equal weights share a part."""
        quantiles = np.linspace(0, 1, BINS + 1)[1:-1]
        edges = np.unique(np.quantile(rows, quantiles, method="inverted_cdf"))
        edges = edges[edges < rows.max()]

        def counts(values: Array) -> Array:
            return np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)

        return cls(edges, counts(rows), counts(right), counts(wrong))

    def best(self) -> int | None:
        """The part up to which the share of wrong probes exceeds that of right ones most; None for none."""
        ahead = np.cumsum(self.wrong) / self.wrong.sum() - np.cumsum(self.right) / self.right.sum()
        inside = ahead[:-1]  # all rows are no choice
        return int(inside.argmax()) if len(inside) and inside.max() > 0 else None


def wrong_rows(bins: Bins, seed: int = 0) -> Array:
    """Draws of how many rows of each part are wrong, given rows and probes: [S, K].

    Gibbs sampling of a mixture: each row is right or wrong; right rows and right probes share one
    distribution over the parts, wrong ones another; a flat prior on the share of wrong rows.  Counts of these
    very rows come out, not shares of others like them.
    """
    random = np.random.default_rng(seed)
    scale = max(1.0, bins.rows.sum() / MOST)
    rows = np.round(bins.rows / scale).astype(np.int64)
    seen = {"right": PRIOR + bins.right, "wrong": TRUST * (1 + bins.wrong)}
    right, wrong = (_shares(random, np.tile(count, (CHAINS, 1))) for count in seen.values())
    share = random.beta(1, 1, size=(CHAINS, 1))
    draws = []
    for step in range(BURN + KEPT * EACH):
        odds = share * wrong
        bad = random.binomial(rows, odds / (odds + (1 - share) * right))
        total = bad.sum(axis=1, keepdims=True)
        share = random.beta(1 + total, 1 + rows.sum() - total)
        wrong = _shares(random, seen["wrong"] + bad)
        right = _shares(random, seen["right"] + rows - bad)
        if step >= BURN and step % EACH == 0:
            draws.append(bad)
    counts: Array = np.concatenate(draws) * (bins.rows / np.maximum(rows, 1))
    return counts


def _shares(random: np.random.Generator, counts: Array) -> Array:
    """A draw of shares [chains, K] that sum to 1 from the Dirichlet distribution of ``counts``."""
    drawn = random.gamma(counts) + 1e-12
    shares: Array = drawn / drawn.sum(axis=1, keepdims=True)
    return shares
