"""A student of sentence pairs small enough to check its features by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import metaweight as mw
from metaweight.core.contracts import Batch
from metaweight.student.losses import TokenCrossEntropy
from metaweight.student.taps import TimeAxis

WORDS = 7


class Pairs(nn.Module):
    """An encoder and a decoder that see one position at a time, with ``fill`` at what is padding.

    ``after``: what becomes of the decoder's output.
    """

    def __init__(self, fill: float = 0.0) -> None:
        super().__init__()
        self.fill, self.after = fill, lambda states: states
        self.source, self.target = nn.Embedding(WORDS, 3), nn.Embedding(WORDS, 4)
        self.encoder, self.decoder, self.pooled = nn.Identity(), nn.Identity(), nn.Identity()
        self.head = nn.Linear(7, WORDS)

    def forward(self, source: Tensor, shifted: Tensor) -> Tensor:
        read = self.encoder(self._filled(self.source(source), source))
        written = self.after(self.decoder(self._filled(self.target(shifted), shifted)))
        memory = self.pooled(read[:, 0])[:, None].expand(-1, shifted.shape[1], -1)
        return self.head(torch.cat([written, memory], dim=2))

    def _filled(self, states: Tensor, ids: Tensor) -> Tensor:
        return states.where((ids != 0)[..., None], states.new_tensor(self.fill))


def axes(tap: str, batch: Batch) -> TimeAxis | None:
    """The real positions of ``encoder`` and ``decoder``."""
    source, shifted = batch.inputs
    if tap == "decoder":
        return TimeAxis(shifted != 0, of_targets=True)
    return TimeAxis(source != 0) if tap == "encoder" else None


def build(unit: str, *, fill: float = 0.0, smoothing: float = 0.1, **chosen: object) -> mw.Student:
    """A student with both taps, always with the same parameters, in float64."""
    torch.manual_seed(2)
    options = {"taps": ("encoder", "decoder"), "time_axes": axes, **chosen}
    return mw.Student(Pairs(fill).double(), TokenCrossEntropy(0, smoothing, unit), **options)


def sentences() -> Batch:
    """Three pairs of 3, 2 and 4 source and 2, 3 and 1 target tokens."""
    source = torch.tensor([[4, 5, 3, 0], [5, 3, 0, 0], [6, 6, 4, 3]])
    targets = torch.tensor([[5, 3, 0], [4, 6, 3], [3, 0, 0]])
    shifted = torch.tensor([[2, 5, 0], [2, 4, 6], [2, 0, 0]])
    return Batch((source, shifted), targets, torch.tensor([30, 10, 20]))
