"""Log odds from evidence under own and others' targets, by other ways to the same figures."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from metaweight.teachers.calibration import RIGHT, SLOPE, Calibration

DOUBLE = torch.float64


def ones(number: int) -> torch.Tensor:
    return torch.ones(number, dtype=DOUBLE)


def fisher(own, others, weights, least: float = 0.1):
    """Slope [K] and threshold of Fisher's discriminant, the own side by ``weights``: numpy's moments."""
    means = np.average(own, axis=0, weights=weights), others.mean(axis=0)
    spreads = np.cov(own.T, aweights=weights, bias=True), np.cov(others.T, bias=True)
    covariance = (spreads[0] + spreads[1]) / 2 + least * np.eye(own.shape[1])
    return np.linalg.solve(np.atleast_2d(covariance), means[0] - means[1]), (means[0] + means[1]) / 2


def test_log_odds_of_one_batch_are_those_of_fishers_discriminant():
    g = np.random.default_rng(0)
    own, others = g.normal([2, 0.5], [1, 2], (200, 2)), g.normal([-1, 0], [1, 2], (200, 2))
    calibration, fresh = Calibration(2).double(), g.normal(size=(50, 2))
    given = [torch.from_numpy(values) for values in (own, others, fresh)]
    before = SLOPE * (own.sum(axis=1))
    torch.testing.assert_close(calibration.log_odds(given[0]), torch.from_numpy(before), rtol=1e-12, atol=0)
    calibration.put(given[0], given[1], ones(400), units=10**14)
    slope, middle = fisher(own, others, 1 / (1 + np.exp(-before) * (1 - RIGHT) / RIGHT))
    odds = calibration.log_odds(given[2]).numpy()
    np.testing.assert_allclose(odds, (fresh - middle) @ slope, rtol=1e-9)
    plain = LinearDiscriminantAnalysis(solver="lsqr", priors=[0.5, 0.5]).fit(
        np.concatenate([own, others]), np.repeat([1, 0], 200)
    )
    assert np.abs(odds - plain.decision_function(fresh)).max() < 0.5  # few of these are taken for wrong


def test_few_trusted_units_prove_little_and_no_evidence_speaks_for_the_contrary():
    g = np.random.default_rng(0)
    own, others = g.normal(1, 1, (30, 1)), g.normal(-1, 1, (30, 1))
    fresh = torch.linspace(-3, 3, 7, dtype=DOUBLE)[:, None]
    slope, middle = fisher(own, others, 1 / (1 + np.exp(-SLOPE * own[:, 0]) / 9))
    for units, known in ((0, 0.0), (20, 0.5), (180, 0.9)):
        calibration = Calibration(1).double()
        calibration.put(torch.from_numpy(own), torch.from_numpy(others), ones(60), units=units)
        expected = (fresh[:, 0] - known * middle[0]) * (known * slope[0] + (1 - known) * SLOPE)
        torch.testing.assert_close(calibration.log_odds(fresh), expected, rtol=1e-9, atol=1e-12)
    contrary = Calibration(1).double()
    contrary.put(torch.from_numpy(others), torch.from_numpy(own), ones(60), units=10**14)
    assert float(contrary.log_odds(fresh).abs().max()) < 1e-9


def test_trusted_units_that_look_wrong_count_little():
    """A fifth of them: what is believed hardly changes."""
    g = torch.Generator().manual_seed(0)
    odds = []
    for wrong in (0, 20):
        calibration = Calibration(1).double()
        for _ in range(40):
            own, others = (torch.randn(100, 1, generator=g, dtype=DOUBLE) + shift for shift in (3, -3))
            own[:wrong] -= 6
            calibration.put(own, others, ones(200), units=100)
        odds.append(float(calibration.log_odds(torch.tensor([[3.0]], dtype=DOUBLE))))
    assert 0.8 < odds[1] / odds[0] < 1.2


def test_batches_count_less_with_age_and_targets_that_are_equal_not_at_all():
    g = torch.Generator().manual_seed(0)
    first, second, wrong = (torch.randn(40, 1, generator=g, dtype=DOUBLE) + shift for shift in (3, 1, -2))
    counts = torch.cat([torch.ones(25), torch.zeros(15)]).double()
    calibration = Calibration(1, decay=0.5, least=0.25).double()
    others = torch.full((40, 1), 1e6, dtype=DOUBLE).where(counts[:, None] == 0, wrong)
    odds = []
    for own in (first, second):
        odds.append(calibration.log_odds(own))
        calibration.put(own, others, torch.cat([ones(40), counts]), units=10**14)
    shares = [(each + math.log(9)).sigmoid() / (each + math.log(9)).sigmoid().sum() for each in odds]
    means = [(share * own[:, 0]).sum() for share, own in zip(shares, (first, second), strict=True)]
    centres = [means[0], (0.5 * means[0] + means[1]) / 1.5]
    bad = wrong[:25]
    spreads = [
        ((share * (own[:, 0] - centre).square()).sum() + (bad - bad.mean()).square().mean()) / 2
        for share, own, centre in zip(shares, (first, second), centres, strict=True)
    ]
    variance = (0.5 * spreads[0] + spreads[1]) / 1.5 + 0.25
    middle = (centres[1] + bad.mean()) / 2
    expected = (second[:, 0] - middle) * (centres[1] - bad.mean()) / variance
    torch.testing.assert_close(calibration.log_odds(second), expected, rtol=1e-9, atol=1e-12)
    for nothing in (torch.cat([ones(40), 0 * ones(40)]), torch.cat([0 * ones(40), ones(40)])):
        calibration.put(first, wrong, nothing, units=3)
        torch.testing.assert_close(calibration.log_odds(second), expected, rtol=1e-9, atol=1e-12)


def test_the_share_of_right_units_is_read_between_the_trials_whatever_their_shape():
    """A mixture of the two kinds of trials, far from normal: its share comes back, all and none right too."""
    g = np.random.default_rng(0)

    def drawn(number):
        return [torch.from_numpy(sign * (2 * g.exponential(size=(number, 1)) - 0.5)) for sign in (1, -1)]

    calibration = Calibration(1).double()
    for _ in range(40):
        own, others = drawn(400)
        calibration.put(own, others, ones(800), units=10**14)
    own, others = (calibration.log_odds(one) for one in drawn(20000))
    assert float(own.sigmoid().mean()) < 0.7  # where all are right the odds by themselves say this
    for right in (0.0, 0.3, 0.7, 1.0):
        cut = int(20000 * right)
        odds, extra = torch.cat([own[:cut], others[cut:]]), torch.full((500,), -9.0, dtype=DOUBLE)
        counts = torch.cat([ones(20000), torch.zeros(500, dtype=DOUBLE)])
        share = float(calibration.share(torch.cat([odds, extra]), counts))
        assert abs(share - right) < 0.06, (share, right)
    assert float(calibration.share(own, torch.zeros_like(own))) == 0.5
    assert float(Calibration(1).double().share(own, ones(20000))) == 0.5


def test_evidence_that_tells_nothing_apart_leaves_the_share_at_a_half():
    g = np.random.default_rng(0)
    calibration = Calibration(1).double()
    for _ in range(40):
        own, others = (torch.from_numpy(g.normal(size=(400, 1))) for _ in range(2))
        calibration.put(own, others, ones(800), units=10**14)
    assert 0.3 < float(calibration.share(calibration.log_odds(own), ones(400))) < 0.7
