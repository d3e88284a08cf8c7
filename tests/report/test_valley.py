"""Otsu's cut against trying every one."""

from __future__ import annotations

import numpy as np
import pytest

from metaweight.report.statistics.valley import small_heap, valley


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


@pytest.mark.parametrize("seed", range(5))
def test_a_small_heap_far_below_all_others_is_a_group(seed: int) -> None:
    """48 of 1,000 rows at a teacher's floor: they explain less of the spread than two halves of a bell."""
    random = np.random.default_rng(seed)
    heap = 0.09 + 0.01 * random.random(48)
    weights = np.concatenate([heap, random.normal(1.1, 0.2, 952).clip(0.3)])
    cut = valley(weights, only_two=True)
    assert cut is not None
    assert set(weights[weights < cut]) >= set(heap)
    assert (weights < cut).sum() < 60
    assert small_heap(-weights) is None  # most rows are no suspects, however few stand above them


@pytest.mark.parametrize("size", [60, 1000, 20_000])
def test_one_heap_of_any_shape_has_no_small_one_below(size: int) -> None:
    """In a hundred draws of each shape one may be taken for two."""
    found = []
    for seed in range(25):
        random = np.random.default_rng(seed)
        bell = random.normal(size=size)
        flat, skewed = random.random(size), random.exponential(size=size)
        found += [small_heap(one) for one in (flat, bell, np.exp(bell), np.minimum(bell, 1), skewed, -skewed)]
    assert sum(cut is not None for cut in found) <= 1
    assert small_heap(np.ones(size)) is None
