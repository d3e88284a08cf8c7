"""A small causal language model of bytes, to be timed: as GPT-2 is, in a few lines, with fused attention."""

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
    """Bytes [B, T] -> log odds of the next one [B, T, BYTES]."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.bytes, self.places = nn.Embedding(BYTES, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, BYTES)

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        logits: Tensor = self.head(self.norm(self.blocks(self.bytes(ids) + self.places(places))))
        return logits


def next_byte(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of each row: [B, T, BYTES], [B, T] -> [B]."""
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(1)


@dataclass(frozen=True)
class Language:
    """Rows of bytes; AdamW."""

    layers: int = 4
    batch: int = 64
    described: str = f"rows of {LENGTH} bytes, fused attention"
    fast_layout: str = "contiguous"
    convolutions: bool = False

    def module(self) -> nn.Module:
        return LanguageModel(self.layers)

    def student(self, module: nn.Module, **options: Any) -> mw.Student:
        return mw.Student(module, next_byte, **options)

    def optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        return torch.optim.AdamW(parameters, lr=3e-4, eps=1e-6)

    def loss(self, module: nn.Module, batch: mw.Batch) -> Tensor:
        return F.cross_entropy(module(*batch.inputs).flatten(0, 1), batch.targets.flatten())

    def random_batch(self, units: int, first: int, generator: torch.Generator) -> mw.Batch:
        rows = torch.randint(BYTES, (units, LENGTH + 1), generator=generator)
        return mw.Batch((rows[:, :-1],), rows[:, 1:], torch.arange(first, first + units))
