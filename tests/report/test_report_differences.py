"""Paired differences, wins and ranks against scipy and figures by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from metaweight.report.statistics import WinTieLoss, paired, rank_cells, ranks, win_tie_loss
from metaweight.tasks.outcome import Result

NOISE = "uniform@0.4"


def runs(noise: str = NOISE, **arms: list[float | None]) -> list[Result]:
    """Results of arms by seed, 0 first."""
    return [
        Result(arm, noise, seed, {"accuracy": value})
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]


BASE = [91.0, 89.5, 93.25, 90.0, 88.0]
ARM = [92.5, 89.75, 93.0, 92.0, 91.5]


@pytest.mark.parametrize(("n", "confidence"), [(2, 0.95), (3, 0.95), (5, 0.9)])
def test_the_interval_is_that_of_scipys_paired_t_test(n: int, confidence: float) -> None:
    pair = paired(
        runs(a=ARM[:n], b=BASE[:n]), "accuracy", arm="a", base="b", noise=NOISE, confidence=confidence
    )
    expected = scipy.stats.ttest_rel(ARM[:n], BASE[:n]).confidence_interval(confidence)
    assert pair is not None
    assert (pair.low, pair.high) == pytest.approx((expected.low, expected.high), rel=1e-12, abs=1e-12)
    assert pair.mean == pytest.approx(np.mean(ARM[:n]) - np.mean(BASE[:n]), rel=1e-12)
    assert pair.seeds == tuple(range(n))


def test_the_bootstrap_of_few_seeds_takes_each_resample_once() -> None:
    """A second way to the same quantiles: the 27 means of 3 differences, sorted, on straight lines."""
    pair = paired(runs(a=ARM[:3], b=BASE[:3]), "accuracy", arm="a", base="b", noise=NOISE, confidence=0.8)
    assert pair is not None
    means = sorted(math.fsum(drawn) / 3 for drawn in itertools.product([1.5, 0.25, -0.25], repeat=3))
    place = 0.1 * 26
    low = means[2] + (place - 2) * (means[3] - means[2])
    high = means[24] - (place - 2) * (means[24] - means[23])
    assert pair.bootstrap == pytest.approx((low, high), rel=1e-12)
    whole = paired(runs(a=ARM[:3], b=BASE[:3]), "accuracy", arm="a", base="b", noise=NOISE)
    assert whole is not None  # 0.025 * 26 = 0.65 lies between the smallest and the second resample
    assert whole.bootstrap[0] == pytest.approx(means[0] + 0.65 * (means[1] - means[0]), rel=1e-12)


def test_the_bootstrap_of_many_seeds_is_scipys_up_to_the_draw() -> None:
    draw = np.random.default_rng(3)
    a, b = draw.normal(1.0, 2.0, 12).tolist(), draw.normal(0.0, 1.0, 12).tolist()
    pair = paired(runs(a=a, b=b), "accuracy", arm="a", base="b", noise=NOISE)
    expected = scipy.stats.bootstrap(
        (np.subtract(a, b),), np.mean, method="percentile", n_resamples=20000, rng=draw
    ).confidence_interval
    assert pair is not None
    # both draw: a quantile of 10,000 resamples scatters by some hundredths of the interval
    assert pair.bootstrap == pytest.approx((expected.low, expected.high), abs=0.06)
    again = paired(runs(a=a, b=b), "accuracy", arm="a", base="b", noise=NOISE)
    assert again == pair


def test_pairs_are_the_seeds_that_both_have() -> None:
    results = runs(a=[1.0, None, 5.0, 4.0], b=[0.5, 9.0, 5.0, None])
    results += [Result("b", "other", 3, {"accuracy": 0.0}), Result("b", NOISE, 7, {"accuracy": 0.0})]
    pair = paired(results, "accuracy", arm="a", base="b", noise=NOISE)
    assert pair is not None
    assert (pair.seeds, pair.differences) == ((0, 2), (0.5, 0.0))
    assert (pair.wins, pair.ties, pair.losses) == (1, 1, 0)
    assert paired(results, "accuracy", arm="a", base="b", noise="other") is None
    assert paired(results, "accuracy", arm="a", base="nobody", noise=NOISE) is None
    assert paired([], "accuracy", arm="a", base="b", noise=NOISE) is None


def test_less_is_better_turns_wins_and_verdict_but_not_the_difference() -> None:
    results = runs(a=[1.0, 2.0, 3.1], b=[2.0, 3.0, 4.0])
    pair = paired(results, "accuracy", arm="a", base="b", noise=NOISE, higher_is_better=False)
    assert pair is not None
    assert (pair.wins, pair.losses, pair.verdict) == (3, 0, 1)
    assert pair.high < 0
    other = paired(results, "accuracy", arm="a", base="b", noise=NOISE)
    assert other is not None
    assert (other.wins, other.losses, other.verdict) == (0, 3, -1)
    assert (other.low, other.high) == (pair.low, pair.high)


def test_one_seed_has_no_interval_and_claims_nothing() -> None:
    pair = paired(runs(a=[99.0], b=[1.0]), "accuracy", arm="a", base="b", noise=NOISE)
    assert pair is not None
    assert (pair.interval, pair.bootstrap) == (None, None)
    assert math.isnan(pair.low)
    assert math.isnan(pair.high)
    assert (pair.mean, pair.wins, pair.verdict) == (98.0, 1, 0)


def test_a_win_is_an_interval_that_leaves_out_0() -> None:
    results = [
        *runs("clear", a=[2.0, 2.1, 1.9], b=[1.0, 1.0, 1.0]),
        *runs("wide", a=[5.0, 1.1, 1.2], b=[1.0, 1.0, 1.0]),  # better in each seed, and yet
        *runs("worse", a=[0.0, 0.1, 0.0], b=[1.0, 1.0, 1.0]),
        *runs("single", a=[9.0], b=[1.0]),
        *runs("lonely", a=[9.0, 9.0]),
    ]
    assert win_tie_loss(results, "accuracy", "a", "b") == WinTieLoss(
        ("clear",), ("wide", "single"), ("worse",)
    )
    assert win_tie_loss(results, "accuracy", "a", "b", confidence=0.3).wins == ("clear", "wide")
    turned = win_tie_loss(results, "accuracy", "a", "b", higher_is_better=False)
    assert (turned.wins, turned.losses) == (("worse",), ("clear",))
    assert turned.text() == "1 / 2 / 1"


def test_ranks_are_scipys_with_ties_shared() -> None:
    table = np.random.default_rng(0).integers(0, 4, size=(6, 5)).astype(float)  # 6 cells, many ties
    results = [
        Result(f"arm-{arm}", f"noise-{cell % 2}", cell, {"accuracy": table[cell, arm]})
        for cell in range(6)
        for arm in range(5)
    ]
    expected = scipy.stats.rankdata(-table, axis=1).mean(axis=0)
    assert ranks(results, "accuracy") == pytest.approx(
        {f"arm-{arm}": rank for arm, rank in enumerate(expected)}, rel=1e-12
    )
    lowest = scipy.stats.rankdata(table, axis=1).mean(axis=0)
    assert list(ranks(results, "accuracy", higher_is_better=False).values()) == pytest.approx(
        lowest.tolist(), rel=1e-12
    )


def test_ranks_are_over_the_cells_that_every_arm_has() -> None:
    results = runs(a=[3.0, 1.0, 1.0], b=[2.0, 2.0, 2.0], c=[1.0, 3.0, None], d=[None, None, None])
    assert ranks(results, "accuracy") == {"a": 2.0, "b": 2.0, "c": 2.0}
    assert rank_cells(results, "accuracy") == (2, 3)
    apart = [*runs("x", a=[1.0]), *runs("y", b=[1.0])]
    assert ranks(apart, "accuracy") == {}
    assert ranks([], "accuracy") == {}


def test_mistakes_are_said() -> None:
    results = runs(a=[1.0], b=[2.0])
    with pytest.raises(KeyError, match=r"no run has the figure 'acuracy'. Did you mean 'accuracy'"):
        ranks(results, "acuracy")
    with pytest.raises(ValueError, match=r"a under uniform@0\.4 has seed 0 twice"):
        ranks([*results, results[0]], "accuracy")
    with pytest.raises(ValueError, match="confidence is a share"):
        paired(results, "accuracy", arm="a", base="b", noise=NOISE, confidence=95)
    with pytest.raises(ValueError, match="resamples is a positive number"):
        paired(results, "accuracy", arm="a", base="b", noise=NOISE, resamples=0)
