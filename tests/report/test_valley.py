"""Otsu's cut against trying every one."""

from __future__ import annotations

import numpy as np
import pytest

from metaweight.report.statistics.valley import valley


@pytest.mark.parametrize("seed", range(5))
def test_the_valley_is_the_best_of_all_cuts(seed: int) -> None:
    """Within-group spread, computed afresh for each cut, is least at the valley."""
    random = np.random.default_rng(seed)
    values = np.round(np.concatenate([random.normal(0, 1, 20), random.normal(3 + seed, 1, 40)]), 1)
    cuts = np.unique(values)[1:]
    within = [
        values[values < cut].var() * (values < cut).sum()
        + values[values >= cut].var() * (values >= cut).sum()
        for cut in cuts
    ]
    best = cuts[int(np.argmin(within))]
    found = valley(values)
    assert found is not None
    assert np.array_equal(values < found, values < best)


def test_one_heap_is_no_valley_between_two() -> None:
    flat, two = np.linspace(0, 1, 101), np.repeat([0.0, 0.1, 0.9, 1.0], 20)
    assert valley(flat) == pytest.approx(0.5, abs=0.02)
    assert valley(flat, only_two=True) is None
    assert valley(two, only_two=True) == pytest.approx(0.5)
    assert valley(np.ones(9)) is None
    assert valley(np.empty(0)) is None
