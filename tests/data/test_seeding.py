from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from metaweight.data.seeding import derive


def draw(*path: int | str) -> list[int]:
    return torch.randint(2**31, (4,), generator=derive(*path)).tolist()


def test_the_same_path_gives_the_same_numbers():
    assert draw(3, "order", 7) == draw(3, "order", 7)
    assert draw(3, np.int64(7)) == draw(3, 7)  # an int by any other name


@pytest.mark.parametrize(
    ("one", "other"),
    [((0, 1), (1, 0)), ((1, 23), (12, 3)), ((0, "1"), (0, 1)), ((0, "a", "b"), (0, "ab")), ((0,), (0, 0))],
)
def test_paths_that_look_alike_differ(one, other):
    assert draw(*one) != draw(*other)


def test_ten_thousand_neighbours_all_differ():
    seeds = {derive(seed, epoch).initial_seed() for seed in range(100) for epoch in range(100)}
    assert len(seeds) == 10_000


def test_seeds_are_the_hash_in_torch_32_bits():
    digest = hashlib.blake2b(b"2:i5" + b"5:stail", digest_size=4).digest()
    assert derive(5, "tail").initial_seed() == int.from_bytes(digest, "little")


def test_a_key_that_is_no_int_or_str_is_refused():
    with pytest.raises(TypeError):
        derive(0, 1.5)  # type: ignore[arg-type]
