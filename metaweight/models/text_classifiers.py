"""Models of whole texts: token ids [B, T], right-padded with 0, -> outputs [B, outputs]."""

from __future__ import annotations

from torch import Tensor, nn

from metaweight.models.transformer import Encoder, word_embedding
from metaweight.models.transformer_layers import LayerOptions
from metaweight.student.taps import pool

PADDING = 0
"""The id of what is no token."""


class MeanOverTime(nn.Module):
    """The mean of states [B, T, D] over real positions: [B, D]."""

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """``real`` [B, T] bool."""
        return pool(states, real)


class TextBag(nn.Module):
    """The mean of a text's embeddings, ``depth`` layers of ``width`` units, and the ``head``.

    ids [B, T] int64, right-padded with 0 -> [B, outputs].  Every text has one real token or more.  What
    stands at the padding, and how much of it there is, changes nothing, and no layer sees another row of the
    batch.  ``mean`` gives the pooled embeddings [B, embedding], ``hidden`` the last hidden state [B, width].
    ``word_dropout``: probability that a training pass leaves a token out of the mean.
    Joulin et al. (2017), with hidden layers.  Raises ValueError for sizes that are not positive or a dropout
    outside [0, 1).
    """

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        *,
        embedding: int = 128,
        width: int = 128,
        depth: int = 1,
        dropout: float = 0.3,
        word_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_sizes(vocabulary=vocabulary, outputs=outputs, embedding=embedding, width=width, depth=depth)
        check_rates(dropout=dropout, word_dropout=word_dropout)
        self.embedding = word_embedding(vocabulary, embedding, PADDING)
        self.word_dropout = nn.Dropout1d(word_dropout)
        self.mean = MeanOverTime()
        layers: list[nn.Module] = []
        for layer in range(depth):
            inputs = width if layer else embedding
            layers += [nn.LayerNorm(inputs), nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(width, outputs)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits or numbers [B, outputs]."""
        words = self.word_dropout(self.embedding(ids))
        outputs: Tensor = self.head(self.hidden(self.mean(words, ids != PADDING)))
        return outputs


class TextTransformer(nn.Module):
    """A Transformer's encoder, the mean of its last states over real positions, and the ``head``.

    As ``TextBag``; Vaswani et al. (2017), norms before the branches.  ``encoder.layers`` give states
    [B, T, width], ``hidden`` their mean [B, width].
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
        self.encoder = Encoder(word_embedding(vocabulary, width, PADDING), options, layers)
        self.hidden = MeanOverTime()
        self.head = nn.Linear(width, outputs)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits or numbers [B, outputs]."""
        real = ids != PADDING
        outputs: Tensor = self.head(self.hidden(self.encoder(ids, real[:, None, None, :]), real))
        return outputs


def encoder_options(width: int, heads: int, feedforward: int, dropout: float) -> LayerOptions:
    """What the layers of an encoder of texts have in common.  Raises ValueError for an odd width."""
    if width < 2 or width % 2:
        raise ValueError(f"width is even, got {width}")
    return LayerOptions(width, heads, feedforward, dropout, 0.0, pre=True, activation="relu")


def check_sizes(**sizes: int) -> None:
    """Raise ValueError for one below 1."""
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"a text model needs {name} >= 1, got {value}")


def check_rates(**rates: float) -> None:
    """Raise ValueError for one that is no probability."""
    for name, value in rates.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} is a probability in [0, 1), got {value}")
