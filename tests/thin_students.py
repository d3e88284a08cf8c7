"""Students whose weights engine ``first-order`` can cut to a low rank, and some that it cannot."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import metaweight as mw

WIDE, OUT = 24, 5


class Words(nn.Module):
    """Embeddings that are the output layer's weight too, a low-rank adapter, norms and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, WIDE)
        self.norm, self.rms = nn.LayerNorm(WIDE), nn.RMSNorm(WIDE)
        self.attention = nn.MultiheadAttention(WIDE, 2, batch_first=True)
        self.down, self.up = nn.Linear(WIDE, 3, bias=False), nn.Linear(3, WIDE, bias=False)
        self.out = nn.Linear(WIDE, 11)
        self.out.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        normed = self.norm(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        x = x + self.up(self.down(self.rms(x)).tanh())
        logits: Tensor = self.out(x).mean(1)
        return logits


def pictures() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, WIDE, 3, stride=2, padding=1),
        nn.GroupNorm(2, WIDE),
        nn.GELU(),
        nn.Conv2d(WIDE, 16, 3, dilation=2, padding=2),
        nn.Tanh(),
        nn.Conv2d(16, 16, 3, padding=1, groups=4),
        nn.Tanh(),
        nn.ConvTranspose2d(16, 6, 2, stride=2),
        nn.Flatten(),
        nn.Linear(6 * 36, 11),
    )


class Products(nn.Module):
    """Parameters that are multiplied from the right, [in, out]."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.randn(*s)) for s in ((7, WIDE), (WIDE, 11)))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.first).tanh() @ self.second


def table() -> nn.Module:
    return nn.Sequential(nn.Linear(7, WIDE), nn.Tanh(), nn.Linear(WIDE, WIDE), nn.Tanh(), nn.Linear(WIDE, 11))


STUDENTS = {"words": Words, "pictures": pictures, "table": table, "products": Products}


def batch(kind: str, units: int, seed: int) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    x = {
        "words": lambda: torch.randint(11, (units, OUT), generator=g),
        "pictures": lambda: torch.randn(units, 3, 6, 6, generator=g, dtype=torch.float64),
    }.get(kind, lambda: torch.randn(units, 7, generator=g, dtype=torch.float64))()
    return mw.Batch((x,), torch.randint(11, (units,), generator=g), torch.arange(units))
