"""What probes tell of weights, against exact posteriors, the score equation and simulated truth."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import betaln, gammaln

from metaweight.report.statistics import belief as module
from metaweight.report.statistics.belief import Belief, auroc_of, belief
from metaweight.report.statistics.mixture import PRIOR, TRUST, Bins, wrong_rows
from metaweight.training.sample_weights import SampleWeights

Array = np.ndarray[Any, Any]


def samples(rows: Array, right: Array, wrong: Array, loss: Array | None = None) -> SampleWeights:
    """Weights of rows, of right and of wrong probes, mixed up."""
    weights = torch.from_numpy(np.concatenate([rows, right, wrong])).float()
    probe = torch.from_numpy(np.repeat([0, 1, 2], [len(rows), len(right), len(wrong)]).astype(np.int8))
    losses = -weights if loss is None else torch.from_numpy(loss).float()
    mixed = torch.randperm(len(weights), generator=torch.Generator().manual_seed(0))
    of_rows = SampleWeights(torch.arange(len(weights)), weights[None], losses[None], probe=probe)
    return of_rows.select(mixed)


def drawn(
    seed: int, *, share: float = 0.3, rows: int = 600, probes: int = 40, apart: float = 2.5
) -> tuple[Array, Array, Array, Array]:
    """Rows, right and wrong probes whose weights follow two bells, and which rows are wrong."""
    random = np.random.default_rng(seed)
    bad = random.random(rows) < share
    weights = 1 / (1 + np.exp(-random.normal(np.where(bad, -apart / 2, apart / 2))))
    right = 1 / (1 + np.exp(-random.normal(apart / 2, size=probes // 2)))
    wrong = 1 / (1 + np.exp(-random.normal(-apart / 2, size=probes // 2)))
    return weights.astype(np.float32), right, wrong, bad


def exact(bins: Bins) -> Array:
    """The posterior mean of wrong rows in each part, by summing over all that there can be."""

    def dirichlet(counts: Array, seen: Array) -> float:
        total = seen + counts
        return float(gammaln(total).sum() - gammaln(total.sum()))

    sums, total = np.zeros(len(bins.rows)), 0.0
    for bad in itertools.product(*(range(count + 1) for count in bins.rows)):
        z = np.array(bad)
        choices = gammaln(bins.rows + 1) - gammaln(z + 1) - gammaln(bins.rows - z + 1)
        log = choices.sum() + betaln(1 + z.sum(), 1 + (bins.rows - z).sum())
        log += dirichlet(z, TRUST * (1 + bins.wrong)) + dirichlet(bins.rows - z, PRIOR + bins.right)
        sums, total = sums + math.exp(log) * z, total + math.exp(log)
    return sums / total


@pytest.mark.parametrize(
    ("rows", "right", "wrong"),
    [((6, 9), (0, 5), (4, 1)), ((5, 4, 8), (1, 0, 6), (3, 2, 1)), ((10, 10), (3, 3), (3, 3))],
)
def test_the_sampler_has_the_exact_posterior_mean(
    rows: tuple[int, ...], right: tuple[int, ...], wrong: tuple[int, ...]
) -> None:
    """To a tenth of its spread: the 3,600 draws of 48 chains hang together."""
    bins = Bins(np.arange(len(rows) - 1.0), *(np.array(counts) for counts in (rows, right, wrong)))
    draws = wrong_rows(bins)
    apart = (draws.mean(axis=0) - exact(bins)) / draws.std(axis=0)
    assert abs(apart).max() < 0.1
    assert np.array_equal(draws, wrong_rows(bins))


def test_bins_hold_every_row_and_equal_weights_share_one() -> None:
    rows = np.array([0.0] * 30 + [0.5] * 30 + list(np.linspace(1, 2, 40)))
    bins = Bins.of(rows, np.array([0.0, 0.5, 3.0]), np.array([-1.0, 0.7]))
    assert bins.rows.sum() == 100
    assert bins.rows[0] == 30
    for edge, count in zip(bins.edges, np.cumsum(bins.rows), strict=False):
        assert (rows <= edge).sum() == count
    assert (bins.right[0], bins.right[-1], bins.wrong[0]) == (1, 1, 1)
    assert bins.best() == 2  # there 2 of 2 wrong probes are below, and 2 of 3 right ones
    assert Bins.of(np.ones(9), np.ones(2), np.ones(2)).best() is None


def test_many_rows_are_thinned_and_counted_whole() -> None:
    """A hundred times the rows change neither the shares nor the certainty that probes give."""
    weights, right, wrong, _ = drawn(0)
    few = wrong_rows(Bins.of(weights, right, wrong)) / 600
    many = wrong_rows(Bins.of(np.repeat(weights, 100), right, wrong)) / 60000
    assert many.sum(axis=1).mean() == pytest.approx(few.sum(axis=1).mean(), abs=0.05)
    assert many.sum(axis=1).std() == pytest.approx(few.sum(axis=1).std(), rel=0.5)


@pytest.mark.parametrize(("r", "w", "right"), [(8, 8, 60), (30, 20, 450), (10, 40, 400), (5, 5, 0)])
def test_the_ends_of_an_auroc_lie_z_spreads_away(r: int, w: int, right: int) -> None:
    """Hanley and McNeil's variance at the end itself, as they write it, with the mean of both sizes."""
    area = right / (r * w)
    found = module.Estimate(area, module._end(area, r, w, -1), module._end(area, r, w, 1))
    for end in (found.low, found.high):
        q1, q2 = end / (2 - end), 2 * end**2 / (1 + end)
        size = (r + w) / 2 - 1
        variance = (end * (1 - end) + size * ((q1 - end**2) + (q2 - end**2))) / (r * w)
        assert abs(area - end) == pytest.approx(1.959964 * math.sqrt(variance), abs=1e-6)
    assert 0 <= found.low <= area <= found.high <= 1


def test_probes_that_are_parted_without_a_mistake_still_have_an_interval() -> None:
    found = auroc_of(np.arange(10.0, 20.0), np.arange(10.0))
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.6 < found.low < 0.85
    many = auroc_of(np.arange(100.0, 200.0), np.arange(100.0))
    assert many.low > 0.95


@pytest.mark.slow
def test_promises_hold_in_simulated_runs() -> None:
    """30 runs of 20 right and 20 wrong probes: nine of ten figures, at least, lie in their interval."""
    kept: dict[str, list[bool]] = {"precision": [], "wrong": [], "auroc": []}
    for seed in range(30):
        rows, right, wrong, bad = drawn(seed, share=0.1 + 0.4 * (seed % 5) / 4)
        found = belief(samples(rows, right, wrong))
        assert found is not None
        truth = {"wrong": bad.mean(), "auroc": 0.961}  # of two bells 2.5 apart: Phi(2.5 / sqrt 2)
        if found.precision is not None:
            truth["precision"] = bad[rows <= found.cutoff].mean()
        for name, true in truth.items():
            told = getattr(found, name)
            kept[name].append(told.low <= true <= told.high)
    assert len(kept["precision"]) > 20
    assert {name: np.mean(held) >= 0.9 for name, held in kept.items()} == dict.fromkeys(kept, True)


def said(found: Belief | None) -> str:
    assert found is not None
    return " ".join(found.sentences)


def test_what_is_said_of_weights_that_tell_wrong_rows() -> None:
    rows, right, wrong, bad = drawn(1, rows=1000)
    found = belief(samples(rows, right, wrong))
    assert found is not None
    assert found.verdict == "believable"
    assert found.below == (rows <= found.cutoff).sum()
    assert (found.rows, found.probes) == (1000, 40)
    precision = found.precision
    assert precision is not None
    assert precision.low <= bad[rows <= found.cutoff].mean() <= precision.high
    start = f"Of 100 rows of weight {found.cutoff:.3g} or less about {100 * precision.value:.0f} ("
    assert said(found).startswith(start)


def test_weights_that_tell_nothing_are_said_to() -> None:
    rows, right, wrong, _ = drawn(2, probes=100, apart=0.0)
    found = belief(samples(rows, right, wrong))
    assert found is not None
    assert (found.verdict, found.cutoff, found.precision) == ("chance", None, None)
    assert "no better than chance here: AUROC of 100 probes" in said(found)
    assert "metaweight compare --arms" in said(found)
    turned = belief(samples(1 - rows, *(1 - drawn(3, probes=40)[place] for place in (1, 2))))
    assert "These weights are inverted" in said(turned)
    few = belief(samples(rows, right[:3], wrong[:3]))
    assert "6 probes are too few to tell what these weights are worth: AUROC" in said(few)
    assert few is not None
    assert (few.verdict, few.cutoff) == ("too few", None)


@pytest.mark.parametrize("seed", [2, 4, 7, 9])
def test_a_handful_of_probes_never_says_that_none_stands_out(seed: int) -> None:
    """Weights that tell a third of wrong rows nearly without a mistake, and 11 probes."""
    rows, right, wrong, _ = drawn(seed, share=0.33, apart=5.0)
    found = belief(samples(rows, right[:6], wrong[:5]))
    assert found is not None
    assert (found.verdict, found.cutoff) == ("too few", None)
    assert "11 probes are too few to tell how many of the rows of little weight are wrong" in said(found)


def test_none_stands_out_only_where_most_rows_below_are_surely_not_wrong() -> None:
    """By the draws themselves, of clean rows and more and more probes."""
    verdicts = []
    for probes in (12, 40, 80, 200):
        rows, right, wrong, _ = drawn(4, share=0.0, probes=probes)
        found = belief(samples(rows, right, wrong))
        assert found is not None
        bins = Bins.of(rows, right, wrong)
        best = bins.best()
        assert best is not None
        shares = wrong_rows(bins)[:, : best + 1].sum(axis=1) / bins.rows[: best + 1].sum()
        assert (found.verdict == "none stands out") == ((shares >= 0.5).mean() <= module.DOUBT)
        verdicts.append(found.verdict)
    assert verdicts[0] == "too few"
    assert verdicts[-1] == "none stands out"


def test_where_nothing_is_wrong_nothing_is_promised() -> None:
    rows, right, wrong, _ = drawn(4, share=0.0, probes=80)
    found = belief(samples(rows, right, wrong))
    assert found is not None
    assert (found.verdict, found.cutoff) == ("none stands out", None)
    assert found.wrong is not None
    assert found.wrong.low < 0.03
    assert "There is no weight below which most rows are wrong" in said(found)


def test_without_probes_it_says_how_to_test_and_two_signs() -> None:
    rows = np.linspace(0.5, 1.5, 50)
    nothing = np.empty(0)
    plain = belief(samples(rows, nothing, nothing))
    assert said(plain).startswith(
        "Whether these weights find wrong rows was not tested: metaweight train --probes"
    )
    assert len(plain.sentences) == 1
    rising = belief(samples(rows, nothing, nothing, loss=rows**3))
    assert "The weights rise with the loss (rank correlation 1.00)" in said(rising)
    together = belief(samples(1 + 0.01 * rows, nothing, nothing))
    assert "The weights lie together" in said(together)


def test_equal_weights_and_no_weights_have_no_belief() -> None:
    equal = SampleWeights(torch.arange(9), torch.ones(2, 9), torch.ones(2, 9))
    assert belief(equal) is None
    assert belief(SampleWeights(torch.arange(9), torch.full((2, 9), math.nan), torch.ones(2, 9))) is None
    tested = belief(samples(np.ones(30), np.ones(20), np.ones(20)))
    assert tested is not None
    assert tested.verdict == "chance"
