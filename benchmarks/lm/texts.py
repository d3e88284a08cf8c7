"""Windows of bytes to train a language model on, some of them junk; clean ones to trust and to test on."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metaweight.data.folder import find_file
from metaweight.data.seeding import derive

DOMAINS = ("fiction", "technical", "wiki")
NOISE = "noise"
"""Junk of the domain's own text, in which each byte is replaced with probability REPLACED."""
REPLACED = 0.4


@dataclass(frozen=True)
class Texts:
    """Windows [n, T] int64 of byte values."""

    train: Tensor
    junk: Tensor
    """[n] bool, which training windows are junk."""
    trusted: Tensor
    test: Tensor


@dataclass(frozen=True)
class Sizes:
    """Windows of each kind, bytes of each, and the share of junk among the training windows."""

    train: int
    trusted: int
    test: int
    length: int
    share: float


def texts(domain: str, junk: str, sizes: Sizes, seed: int, folder: Path) -> Texts:
    """Training windows of ``domain``, a share of them of the domain ``junk`` or spoilt.

    ``folder``: what METAWEIGHT_DATA names.  Trusted windows come from the start of the held-out text, test
    windows from what follows.  Raises ValueError for a file that is absent and a text that is too short.
    """
    bad = round(sizes.share * sizes.train)
    own = windows(read(domain, "train", folder), sizes.length)
    order = torch.randperm(len(own), generator=derive(seed, "lm", "own"))
    clean = taken(own[order], sizes.train - bad, domain)
    if junk == NOISE:
        spoilt = replaced(taken(own[order].flip(0), bad, domain), seed)
    else:
        other = windows(read(junk, "train", folder), sizes.length)
        spoilt = taken(other[torch.randperm(len(other), generator=derive(seed, "lm", "junk"))], bad, junk)
    mixed = torch.randperm(sizes.train, generator=derive(seed, "lm", "order"))
    held = windows(read(domain, "trusted_test", folder), sizes.length)
    rest = held[len(held) // 4 :]
    chosen = torch.randperm(len(rest), generator=derive(0, "lm", "test"))  # the same for all seeds
    start = held[: len(held) // 4]
    return Texts(
        torch.cat([clean, spoilt])[mixed],
        (torch.arange(sizes.train) >= sizes.train - bad)[mixed],
        taken(
            start[torch.randperm(len(start), generator=derive(seed, "lm", "trusted"))], sizes.trusted, domain
        ),
        taken(rest[chosen], sizes.test, domain),
    )


def read(domain: str, part: str, folder: Path) -> bytes:
    """A text of the folder's ``lm`` sets."""
    name = f"{domain}_{part}.txt.xz"
    path = find_file([name], [folder / "lm" / f"lm_{domain}"], dataset=f"lm_{domain}")
    return lzma.decompress(path.read_bytes())


def windows(text: bytes, length: int) -> Tensor:
    """Consecutive windows [n, length] of byte values; what is left over is dropped."""
    values = torch.from_numpy(np.frombuffer(text, dtype=np.uint8).astype(np.int64))
    return values[: len(values) // length * length].view(-1, length)


def taken(rows: Tensor, count: int, domain: str) -> Tensor:
    """The first ``count``.  Raises ValueError where there are fewer."""
    if len(rows) < count:
        raise ValueError(f"the text of {domain!r} has {len(rows)} windows, {count} are wanted: take fewer")
    return rows[:count]


def replaced(rows: Tensor, seed: int) -> Tensor:
    """Each byte with probability REPLACED by another one of these rows."""
    draw = derive(seed, "lm", "noise")
    others = rows.flatten()[torch.randint(rows.numel(), rows.shape, generator=draw)]
    return torch.where(torch.rand(rows.shape, generator=draw) < REPLACED, others, rows)
