"""Runs of a tiny translator on padded sentence pairs, each also written out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from whole_runs import Case, Rows

import metaweight as mw
from metaweight.models.transformer import Transformer
from metaweight.student.losses import TokenCrossEntropy

WORDS, PAIRS = 11, 24
SMOOTHING = 0.1


def pairs(count: int, seed: int) -> mw.Batch:
    """Padded sentence pairs of different lengths."""
    g = torch.Generator().manual_seed(seed)
    source, shifted, targets = (torch.zeros(count, 6, dtype=torch.long) for _ in range(3))
    for row, (ours, theirs) in enumerate(torch.randint(1, 6, (count, 2), generator=g).tolist()):
        source[row, :ours] = torch.randint(4, WORDS, (ours,), generator=g)
        source[row, ours] = 3
        targets[row, :theirs] = torch.randint(4, WORDS, (theirs,), generator=g)
        targets[row, theirs] = 3
        shifted[row, 0], shifted[row, 1 : theirs + 1] = 2, targets[row, :theirs]
    return mw.Batch((source, shifted), targets, torch.arange(count))


class Translator(Case):
    """Its loss by sentence is that of its tokens, in the batch's mean over all tokens."""

    def _losses(self, module: nn.Module, batch: mw.Batch) -> Tensor:
        return by_sentence(batch.call(module), batch.targets)


def by_sentence(logits: Tensor, targets: Tensor) -> Tensor:
    """Written once more: sums over real tokens, so scaled that their mean is that over all tokens."""
    tokens = (1 - SMOOTHING) * -logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    tokens = tokens - SMOOTHING * logits.log_softmax(-1).mean(-1)
    real = targets != 0
    return (tokens * real).sum(1) * len(targets) / real.sum()


def translator(optimizer: str, unit: str = "sentence", **options: Any) -> Case:
    """With dropout and smoothing."""

    def build() -> nn.Module:
        sizes: dict[str, Any] = {"width": 8, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
        return Transformer(
            WORDS, WORDS, **sizes, feedforward=12, dropout=0.1, tie="all", norm="pre", activation="gelu"
        )

    loss = TokenCrossEntropy(0, SMOOTHING, unit)  # type: ignore[arg-type]
    return Translator(build, Rows(pairs(PAIRS, 3)), pairs(5, 4), optimizer, loss=loss, **options)
