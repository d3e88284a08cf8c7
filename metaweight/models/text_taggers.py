"""Models of one label a token: ids [B, T, F], right-padded with 0, -> logits [B, T, outputs].

A token is a bag of F ids, itself right-padded with 0: its word, prefix, suffix and shape, or its pieces.
Ids [B, T] are bags of one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaweight.models.text_classifiers import PADDING, check_rates, check_sizes, encoder_options
from metaweight.models.transformer import Encoder, word_embedding
from metaweight.student.taps import pool


def real_tokens(ids: Tensor) -> Tensor:
    """Which tokens of ids [B, T, F] or [B, T] are real: [B, T] bool."""
    return (ids[..., 0] if ids.dim() == 3 else ids) != PADDING


class TokenBag(nn.Module):
    """Ids [B, T, F] -> the mean of each token's embeddings [B, T, width]; zero where there is no token."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.ids = word_embedding(vocabulary, width, PADDING)

    def forward(self, ids: Tensor) -> Tensor:
        """Also of ids [B, T]."""
        bags = ids.flatten(0, 1) if ids.dim() == 3 else ids.reshape(-1, 1)
        pooled: Tensor = pool(self.ids(bags), bags != PADDING).unflatten(0, ids.shape[:2])
        return pooled


class WindowBlock(nn.Module):
    """x + f(norm(x) of a token and of ``reach`` neighbours on each side), f two layers: [B, T, width]."""

    def __init__(self, width: int, reach: int, dropout: float) -> None:
        super().__init__()
        self.reach = reach
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Sequential(
            nn.Linear((2 * reach + 1) * width, 2 * width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """``real`` [B, T] bool: what lies beyond either end of a text, or is padding, counts as zero."""
        normed = self.norm(states).where(real[..., None], states.new_zeros(()))
        length, reach = states.shape[1], self.reach
        wide = F.pad(normed, (0, 0, reach, reach))
        around = torch.cat([wide[:, place : place + length] for place in range(2 * reach + 1)], dim=2)
        after: Tensor = states + self.inner(around)
        return after


class TaggerWindow(nn.Module):
    """``depth`` residual blocks over windows of neighbours, and the ``head``.

    ids [B, T, F] int64 -> logits [B, T, outputs].  A text has one token or more.  What stands at the padding,
    and how much of it there is, changes nothing, and no layer sees another row of the batch.  A label sees
    ``depth * reach`` tokens on each side.  ``hidden`` gives the states [B, T, width] that the head reads.
    ``word_dropout``: probability that a training pass takes a token for none, with all of its ids.
    Raises ValueError for sizes that are not positive or a dropout outside [0, 1).
    """

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        *,
        width: int = 64,
        depth: int = 2,
        reach: int = 1,
        dropout: float = 0.3,
        word_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_sizes(vocabulary=vocabulary, outputs=outputs, width=width, depth=depth, reach=reach)
        check_rates(dropout=dropout, word_dropout=word_dropout)
        self.embedding = TokenBag(vocabulary, width)
        self.word_dropout = nn.Dropout1d(word_dropout)
        self.blocks = nn.ModuleList([WindowBlock(width, reach, dropout) for _ in range(depth)])
        self.hidden = nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout))
        self.head = nn.Linear(width, outputs)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits [B, T, outputs]."""
        states, real = self.word_dropout(self.embedding(ids)), real_tokens(ids)
        for block in self.blocks:
            states = block(states, real)
        outputs: Tensor = self.head(self.hidden(states))
        return outputs


class TaggerTransformer(nn.Module):
    """A Transformer's encoder and the ``head``: every label sees the whole text.

    As ``TaggerWindow``; ``encoder`` gives the states [B, T, width] that the head reads.
    """

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        *,
        width: int = 64,
        heads: int = 4,
        layers: int = 2,
        feedforward: int = 128,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        check_sizes(vocabulary=vocabulary, outputs=outputs, layers=layers, feedforward=feedforward)
        check_rates(dropout=dropout)
        options = encoder_options(width, heads, feedforward, dropout)
        self.encoder = Encoder(TokenBag(vocabulary, width), options, layers)
        self.head = nn.Linear(width, outputs)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits [B, T, outputs]."""
        outputs: Tensor = self.head(self.encoder(ids, real_tokens(ids)[:, None, None, :]))
        return outputs
