"""What a student does first with a batch: vectors x [U, T, D] and words ids [U, T], 0 being padding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from engines.property.parts import LENGTH, WIDTH, WORDS, Part
from torch import Tensor, nn

RARE = WORDS - 1
"""A word of training batches alone."""


class Vectors(Part):
    """A linear layer over x."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return torch.tanh(self.layer(x))


class Streaming(Vectors):
    """x less its moving mean, which every training pass moves first."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(WIDTH, dtype=torch.float64))

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * x.mean((0, 1)) + 0.3
        return super().forward(x - self.mean, ids)


class Words(Part):
    """An embedding."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH, **options)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return torch.tanh(self.embedding(ids) + x)


class Bounded(Words):
    """An embedding that shortens a long row, that of a word of training batches alone, where it reads it.

    A row that the meta batch reads as well would be shortened there too, which autograd does not see.
    """

    def __init__(self) -> None:
        super().__init__(max_norm=4.0)
        with torch.no_grad():
            self.embedding.weight.mul_(0.2)
            self.embedding.weight[RARE] = 5.0


class Placed(Part):
    """Words and their positions, the latter broadcast over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH, WIDTH)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return torch.tanh(self.words(ids) + self.places(torch.arange(ids.shape[1])))


class Bag(Part):
    """The mean of the words, by EmbeddingBag with offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(WORDS, WIDTH, mode="mean")

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        real = ids != 0
        lengths = real.sum(1)
        rows = self.bag(ids[real], lengths.cumsum(0) - lengths)
        return torch.tanh(rows[:, None] + x)


class Packed(Part):
    """The real tokens of the batch in one row axis, pooled by index_add."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.layer, self.gate = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        real = ids != 0
        tokens = self.words(ids[real]) + x[real]
        row = torch.arange(len(ids)).repeat_interleave(real.sum(1))
        gate = torch.exp(self.gate(tokens))
        total = torch.zeros(len(ids), 1, dtype=x.dtype).index_add(0, row, gate)
        pooled = torch.zeros(len(ids), WIDTH, dtype=x.dtype).index_add(
            0, row, gate * self.layer(tokens).tanh()
        )
        return (pooled / total)[:, None].expand(-1, x.shape[1], -1)


FRONTS: dict[str, Callable[[], Part]] = {
    "vectors": Vectors,
    "streaming mean": Streaming,
    "embedding": Words,
    "embedding, padding_idx": lambda: Words(padding_idx=0),
    "embedding, scale_grad_by_freq": lambda: Words(scale_grad_by_freq=True),
    "embedding, max_norm": Bounded,
    "embedding, positions": Placed,
    "EmbeddingBag": Bag,
    "packed rows": Packed,
}
