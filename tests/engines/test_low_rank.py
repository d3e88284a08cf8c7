"""Directions of low rank: held against numpy's singular values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metaweight.engines.ghost.low_rank import pays, truncated
from metaweight.testing.oracles import relative


@pytest.mark.parametrize("shape", [(9, 7), (7, 9), (6, 4, 3, 3)])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e20])
def test_a_matrix_of_low_rank_is_found_whole(shape: tuple[int, ...], scale: float) -> None:
    g = torch.Generator().manual_seed(1)
    rest = int(np.prod(shape[1:]))
    left, right = torch.randn(shape[0], 3, generator=g), torch.randn(3, rest, generator=g)
    matrix = (left @ right).view(shape) * scale
    found = truncated(matrix, 3)
    assert relative(found.dense.double(), matrix.double()) < 1e-5
    torch.testing.assert_close(found.left.t() @ found.left, torch.eye(3))


def test_of_others_the_part_is_a_projection_nearly_as_good_as_the_best() -> None:
    g = torch.Generator().manual_seed(2)
    matrix = torch.randn(40, 30, generator=g, dtype=torch.float64)
    matrix = matrix * torch.logspace(0, -3, 30, dtype=torch.float64)
    found = truncated(matrix, 6)
    torch.testing.assert_close(found.left @ (found.left.t() @ matrix), found.dense)
    values = np.linalg.svd(matrix.numpy(), compute_uv=False)
    best = np.linalg.norm(values[6:])
    assert best <= float((found.dense - matrix).norm()) < 1.2 * best
    assert torch.equal(found.dense, truncated(matrix, 6).dense)


def test_nothing_is_cut_of_nothing() -> None:
    assert truncated(torch.zeros(4, 5), 2).dense.abs().max() == 0


def test_what_pays() -> None:
    assert pays(torch.Size((256, 256)), 16, 2048)
    assert not pays(torch.Size((256, 256)), 16, 64)  # few rows
    assert not pays(torch.Size((256, 8)), 16, 10**6)  # thin anyway
    assert pays(torch.Size((50_000, 256)), 16, 2048)
