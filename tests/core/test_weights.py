"""Figures about weights against pairs by brute force, closed forms and the statistics module."""

from __future__ import annotations

import math
import statistics

import pytest
import torch

from metaweight.core.weights import auroc, effective_sample_size, mean_and_spread, weight_summary


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("levels", [3, 1000])
def test_auroc_is_the_share_of_pairs_in_order(dtype: torch.dtype, levels: int) -> None:
    generator = torch.Generator().manual_seed(levels)
    flipped = torch.rand(60, generator=generator) < 0.4
    weights = (torch.randint(levels, (60,), generator=generator) / levels).to(dtype)
    clean, wrong = weights[~flipped].double(), weights[flipped].double()
    pairs = (clean[:, None] > wrong).double() + 0.5 * (clean[:, None] == wrong).double()
    assert auroc(weights, flipped) == pytest.approx(float(pairs.mean()), abs=1e-12)
    assert auroc(-weights, flipped) == pytest.approx(1 - float(pairs.mean()), abs=1e-12)


def test_auroc_of_perfect_reversed_and_equal_weights() -> None:
    flipped = torch.tensor([True, False, False])
    assert auroc(torch.tensor([0.1, 1.0, 2.0]), flipped) == 1.0
    assert auroc(torch.tensor([3.0, 1.0, 2.0]), flipped) == 0.0
    assert auroc(torch.ones(3, requires_grad=True), flipped) == 0.5


@pytest.mark.parametrize("kind", [True, False])
def test_auroc_of_one_kind_is_nan(kind: bool) -> None:
    assert math.isnan(auroc(torch.tensor([1.0, 2.0]), torch.tensor([kind, kind])))


@pytest.mark.parametrize(
    ("weights", "flipped", "error", "complaint"),
    [
        (torch.ones(3), torch.tensor([True, False]), ValueError, r"\(3,\) and \(2,\)"),
        (torch.ones(2, 1), torch.ones(2, 1, dtype=torch.bool), ValueError, r"both \[N\]"),
        (torch.ones(2), torch.tensor([1, 0]), TypeError, "bool mask, got torch.int64"),
        (torch.tensor([1.0, math.nan]), torch.tensor([True, False]), ValueError, "NaN or infinity"),
    ],
)
def test_auroc_refuses_what_does_not_fit(weights, flipped, error, complaint) -> None:
    with pytest.raises(error, match=complaint):
        auroc(weights, flipped)


def test_effective_sample_size_in_closed_form() -> None:
    assert effective_sample_size(torch.full((7,), 0.25)) == 7
    assert effective_sample_size(torch.tensor([0.0, 3.0, 0.0])) == 1
    assert effective_sample_size(torch.tensor([1.0, 2.0, 3.0])) == pytest.approx(36 / 14, rel=1e-15)
    assert effective_sample_size(torch.zeros(3)) == 0
    tiny = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64) * 1e-300
    assert effective_sample_size(tiny) == pytest.approx(36 / 14, rel=1e-12)


def test_weight_summary_against_statistics_and_its_own_identity() -> None:
    values = torch.rand(50, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2
    summary = weight_summary(values.requires_grad_())
    mean, spread = statistics.fmean(values.tolist()), statistics.pstdev(values.tolist())
    assert summary["weight_mean"] == pytest.approx(mean, rel=1e-13)
    assert summary["weight_spread"] == pytest.approx(spread / mean, rel=1e-13)
    assert summary["ess"] == pytest.approx(1 / (1 + summary["weight_spread"] ** 2), rel=1e-13)
    assert summary["ess"] == pytest.approx(effective_sample_size(values) / 50, rel=1e-15)


@pytest.mark.parametrize(("value", "ess"), [(1.0, 1.0), (0.5, 1.0), (0.0, 0.0)])
def test_weight_summary_of_equal_weights(value: float, ess: float) -> None:
    expected = {"weight_mean": value, "weight_spread": 0.0, "ess": ess}
    assert weight_summary(torch.full((6,), value)) == expected


def test_summary_of_half_precision_loses_nothing() -> None:
    weights = torch.ones(5000, dtype=torch.bfloat16)  # summed in bfloat16 it would stop at 256
    assert weight_summary(weights)["weight_mean"] == 1.0


@pytest.mark.parametrize("figure", [effective_sample_size, weight_summary])
def test_no_weights_is_an_error(figure) -> None:
    with pytest.raises(ValueError, match="N >= 1"):
        figure(torch.ones(0))


def test_mean_and_spread_by_hand() -> None:
    assert mean_and_spread([1.0, 2.0, 6.0]) == (3.0, math.sqrt(7))
    mean, spread = mean_and_spread([4.0])
    assert mean == 4.0
    assert math.isnan(spread)
    with pytest.raises(ValueError, match="at least one"):
        mean_and_spread([])
