"""One seed and a path of keys to one random generator: randomness without state to save."""

from __future__ import annotations

import hashlib
import operator
import random

import numpy as np
import torch


def derive(seed: int, *keys: int | str) -> torch.Generator:
    """A CPU generator that depends on ``seed`` and ``keys`` alone: ``derive(seed, "order", epoch)``.

    Seed and keys go through blake2b, so that neighbours (seed 0, epoch 1; seed 1, epoch 0) have nothing in
    common.  torch's CPU generator keeps 32 bits of a seed: two of n paths share a stream with probability
    n^2 / 2^33.  Raises TypeError for a key that is neither int nor str.
    """
    digest = hashlib.blake2b(digest_size=4)
    for key in (operator.index(seed), *keys):
        # the kind and the length lead, so that no two paths spell the same bytes
        text = f"s{key}" if isinstance(key, str) else f"i{operator.index(key)}"
        data = text.encode()
        digest.update(f"{len(data)}:".encode() + data)
    return torch.Generator().manual_seed(int.from_bytes(digest.digest(), "little"))


def seed_globals(seed: int, *keys: int | str) -> None:
    """Make the global generators for the CPU, torch's, NumPy's and Python's, depend on ``seed`` and ``keys``
    alone, as ``derive``; those of other devices, where dropout masks are drawn, stay as they are."""
    drawn = derive(seed, *keys).initial_seed()
    torch.default_generator.manual_seed(drawn)
    random.seed(drawn)
    np.random.seed(drawn)
