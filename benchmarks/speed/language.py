"""A small causal language model, to be timed: as GPT-2 is, in a few lines, with fused attention."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

import metaweight as mw

BYTES, WIDTH, HEADS, LENGTH = 256, 256, 4, 32


class Block(nn.Module):
    """Norm first; queries, keys and values of all heads by one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.heads, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, WIDTH] -> the same."""
        parts = self.heads(self.first(x)).unflatten(2, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*parts.unbind(), is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        changed: Tensor = self.narrow(F.gelu(self.wide(self.second(x))))
        return x + changed


class LanguageModel(nn.Module):
    """Words [B, T] -> log odds of the next one [B, T, V]."""

    def __init__(self, layers: int, length: int = LENGTH, vocabulary: int = BYTES) -> None:
        super().__init__()
        self.bytes, self.places = nn.Embedding(vocabulary, WIDTH), nn.Embedding(length, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, vocabulary)

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        logits: Tensor = self.head(self.norm(self.blocks(self.bytes(ids) + self.places(places))))
        return logits


def next_byte(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of each row: [B, T, V], [B, T] -> [B]."""
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(1)


@dataclass(frozen=True)
class Language:
    """Rows of words, of bytes by default; AdamW."""

    layers: int = 4
    length: int = LENGTH
    vocabulary: int = BYTES
    batch: int = 64
    fast_layout: str = "contiguous"
    convolutions: bool = False

    @property
    def described(self) -> str:
        of = "bytes" if self.vocabulary == BYTES else f"words of {self.vocabulary:,}"
        return f"rows of {self.length} {of}, fused attention"

    def module(self) -> nn.Module:
        return LanguageModel(self.layers, self.length, self.vocabulary)

    def student(self, module: nn.Module, **options: Any) -> mw.Student:
        return mw.Student(module, next_byte, **options)

    def optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        return torch.optim.AdamW(parameters, lr=3e-4, eps=1e-6)

    def loss(self, module: nn.Module, batch: mw.Batch) -> Tensor:
        return F.cross_entropy(module(*batch.inputs).flatten(0, 1), batch.targets.flatten())

    def random_batch(self, units: int, first: int, generator: torch.Generator) -> mw.Batch:
        rows = torch.randint(self.vocabulary, (units, self.length + 1), generator=generator)
        return mw.Batch((rows[:, :-1],), rows[:, 1:], torch.arange(first, first + units))
