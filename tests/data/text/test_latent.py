"""Texts as points: held against numpy's singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metaweight.data.text.latent import LATENT, latent_points
from metaweight.data.text.padded import Ragged


def by_hand(rows: list[list[int]], size: int) -> np.ndarray:
    counts = np.zeros((len(rows), max(map(max, filter(None, rows))) + 1))
    for place, row in enumerate(rows):
        for word in row:
            counts[place, word] += 1
    occurs = (counts > 0).sum(axis=0)
    weighed = counts * (np.log((1 + len(rows)) / (1 + occurs)) + 1)
    weighed /= np.maximum(np.linalg.norm(weighed, axis=1, keepdims=True), 1e-300)
    left, values, _ = np.linalg.svd(weighed, full_matrices=False)
    points = (left * values)[:, :size]
    return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-300)


def test_points_are_the_leading_part_of_tf_idf():
    """Of 40 words all of it, signs of axes aside: inner products are numpy's."""
    draws = np.random.default_rng(0)
    rows = [
        [*draws.choice(40, 15, p=topic).tolist()]
        for topic in np.repeat(draws.dirichlet(np.full(40, 0.2), size=4), 30, axis=0)
    ]
    got = latent_points(Ragged.of(rows)).numpy()
    expected = by_hand(rows, got.shape[1])
    np.testing.assert_allclose(got @ got.T, expected @ expected.T, atol=1e-9)


def test_points_of_few_words_and_of_an_empty_text():
    got = latent_points(Ragged.of([[3, 3, 4], [], [4], [3]]))
    assert got.shape == (4, 4)
    assert got.norm(dim=1).tolist() == pytest.approx([1, 0, 1, 1])
    assert float(got[2] @ got[3]) == pytest.approx(0, abs=1e-12)


def test_many_words_make_no_more_than_so_many_numbers():
    ids = torch.randint(500, (200, 12), generator=torch.Generator().manual_seed(0))
    points = latent_points(Ragged.of(ids.tolist()))
    assert points.shape == (200, LATENT)
    assert points.norm(dim=1).tolist() == pytest.approx([1.0] * 200)  # though much of them is left out
