"""The Transformer of Vaswani et al. (2017): encoder, decoder, and decoding token by token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from metaweight.core.registry import did_you_mean
from metaweight.models.attention import KeysValues, Past
from metaweight.models.transformer_layers import ACTIVATIONS, DecoderLayer, EncoderLayer, LayerOptions

NORMS, TIES = ("pre", "post"), ("all", "decoder", "none")


class Transformer(nn.Module):
    """Source ids [B, S] and shifted target ids [B, T], int64 -> logits [B, T, target_size].

    Rows are right-padded with the id ``padding``; a source has one real token or more.  What stands at
    the padding, and how much of it there is, moves no other position's logits.  Layers ``encoder.layers``
    and ``decoder.layers`` give [B, S or T, width].  ``feedforward``: inner width of a layer's MLP.
    ``dropout``: probability on embeddings and on each residual branch; ``attention_dropout``: on
    attention weights.  ``norm``: LayerNorm before each branch and at the end of both stacks ("pre"), or
    after each sum ("post").  ``tie``: one embedding matrix for source, target and output ("all"), for
    target and output ("decoder"), or for none.  Embeddings are scaled by sqrt(width); positions are
    sinusoids, of any length.  First weights are fairseq's.
    Raises ValueError for sizes that do not fit, KeyError for an unknown norm, tie or activation.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        width: int = 128,
        heads: int = 4,
        encoder_layers: int = 2,
        decoder_layers: int = 2,
        feedforward: int = 256,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        norm: Literal["pre", "post"] = "pre",
        tie: Literal["all", "decoder", "none"] = "all",
        activation: Literal["relu", "gelu"] = "relu",
        padding: int = 0,
    ) -> None:
        super().__init__()
        _check_names(norm=(norm, NORMS), tie=(tie, TIES), activation=(activation, ACTIVATIONS))
        _check_sizes(source_size, target_size, tie, padding)
        if width < 2 or width % 2 or feedforward < 1 or min(encoder_layers, decoder_layers) < 1:
            raise ValueError(
                "width is even, feedforward and the numbers of layers are 1 or more, "
                f"got {width}, {feedforward}, {encoder_layers} and {decoder_layers}"
            )
        for name, rate in {"dropout": dropout, "attention_dropout": attention_dropout}.items():
            if not 0 <= rate < 1:
                raise ValueError(f"{name} is a probability in [0, 1), got {rate}")
        self.width, self.padding = width, padding
        source, target = (word_embedding(size, width, padding) for size in (source_size, target_size))
        self.head = nn.Linear(width, target_size, bias=False)
        nn.init.normal_(self.head.weight, std=width**-0.5)
        if tie != "none":
            self.head.weight = target.weight
        if tie == "all":
            source.weight = target.weight
        options = LayerOptions(
            width, heads, feedforward, dropout, attention_dropout, pre=norm == "pre", activation=activation
        )
        self.encoder = Encoder(source, options, encoder_layers)
        self.decoder = Decoder(target, options, decoder_layers)

    def forward(self, source: Tensor, shifted: Tensor) -> Tensor:
        """Logits [B, T, target_size]; position t has seen the source and ``shifted`` up to t."""
        mask = self._mask(source)
        memory = self.encoder(source, mask)
        logits: Tensor = self.head(self.decoder(shifted, self.decoder.read(memory), mask))
        return logits

    def encode(self, source: Tensor) -> Tensor:
        """The memory [B, S, width] of a source [B, S]."""
        memory: Tensor = self.encoder(source, self._mask(source))
        return memory

    @torch.no_grad()
    def start(self, memory: Tensor, source: Tensor, *, beams: int = 1) -> Cache:
        """The cache before the first ``step``, for ``beams`` rows a sentence, next to each other."""
        pairs = [(k.contiguous(), v.contiguous()) for k, v in self.decoder.read(memory)]
        return Cache(pairs, self._mask(source), [Past() for _ in pairs], beams)

    @torch.no_grad()
    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Logits [R, target_size] after one more token [R] of each row of the cache, which takes it in.

        Without gradients, which ``forward`` has.
        """
        if tokens.shape != (len(cache),):
            raise ValueError(f"the cache has {len(cache)} rows, got tokens of shape {tuple(tokens.shape)}")
        hidden = self.decoder(tokens[:, None], cache.memory, cache.mask, cache)
        cache.length += 1
        logits: Tensor = self.head(hidden.squeeze(1))
        return logits

    def _mask(self, source: Tensor) -> Tensor:
        return (source != self.padding)[:, None, None, :]


@dataclass
class Cache:
    """What the decoder keeps between two calls of ``step``: R = B * ``beams`` rows, in groups a sentence."""

    memory: list[KeysValues]
    """Per layer, keys and values of the source."""
    mask: Tensor
    """[B, 1, 1, S], true at real source tokens."""
    past: list[Past]
    """Per layer, keys and values of the R rows' tokens."""
    beams: int = 1
    length: int = 0
    """Tokens taken in."""
    spare: Tensor | None = None
    """Room for rows that move."""

    def __len__(self) -> int:
        return len(self.mask) * self.beams

    def select(self, rows: Tensor) -> None:
        """Row i becomes what row ``rows[i]`` was; each group of ``beams`` rows comes from one sentence."""
        self.reorder(rows)
        sentences = rows[:: self.beams] // self.beams
        self.mask = self.mask.index_select(0, sentences)
        self.memory = [(k.index_select(0, sentences), v.index_select(0, sentences)) for k, v in self.memory]

    def reorder(self, rows: Tensor) -> None:
        """``select`` where each row stays with its sentence: leaves the source alone, so it is cheaper."""
        for past in self.past:
            self.spare = past.select(rows, self.spare)


class Encoder(nn.Module):
    """Source ids [B, S] -> memory [B, S, D]; ``embedding``: ids -> [B, S, D]."""

    def __init__(self, embedding: nn.Module, options: LayerOptions, layers: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.dropout = nn.Dropout(options.dropout)
        self.layers = nn.ModuleList([EncoderLayer(options) for _ in range(layers)])
        self.norm = nn.LayerNorm(options.width) if options.pre else nn.Identity()

    def forward(self, source: Tensor, mask: Tensor) -> Tensor:
        """``mask`` [B, 1, 1, S], true at real tokens."""
        x = self.dropout(_embed(self.embedding, source))
        for layer in self.layers:
            x = layer(x, mask)
        memory: Tensor = self.norm(x)
        return memory


class Decoder(nn.Module):
    """Shifted target ids [B, T] and the read memory -> hidden states [B, T, D] before the head."""

    def __init__(self, embedding: nn.Embedding, options: LayerOptions, layers: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.dropout = nn.Dropout(options.dropout)
        self.layers = nn.ModuleList([DecoderLayer(options) for _ in range(layers)])
        self.norm = nn.LayerNorm(options.width) if options.pre else nn.Identity()

    def read(self, memory: Tensor) -> list[KeysValues]:
        """Keys and values of a memory [B, S, D] for each layer."""
        return [cast(DecoderLayer, layer).attend_source.keys_values(memory) for layer in self.layers]

    def forward(
        self, shifted: Tensor, memory: list[KeysValues], mask: Tensor, cache: Cache | None = None
    ) -> Tensor:
        """With a cache, ``shifted`` [R, 1] is the next token of each of its rows."""
        first = 0 if cache is None else cache.length
        x = self.dropout(_embed(self.embedding, shifted, first))
        for i, layer in enumerate(self.layers):
            x = layer(x, memory[i], mask, None if cache is None else cache.past[i])
        hidden: Tensor = self.norm(x)
        return hidden


def sinusoids(first: int, length: int, like: Tensor) -> Tensor:
    """Positions first..first+length-1 as [length, D]: D/2 sines, then D/2 cosines of the same angles.

    Device, dtype and the even D are those of ``like`` [..., D].  The paper interleaves the two, which
    only permutes the dimensions.
    """
    width = like.shape[-1]
    # a position beyond 256 is no bfloat16
    exact = torch.promote_types(like.dtype, torch.float32)
    position = torch.arange(first, first + length, device=like.device, dtype=exact)
    index = torch.arange(0, width, 2, device=like.device, dtype=exact)
    angles = position[:, None] * torch.exp(index * (-math.log(10_000.0) / width))
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(like.dtype)


def _embed(embedding: nn.Module, ids: Tensor, first: int = 0) -> Tensor:
    vectors: Tensor = embedding(ids)
    return vectors * math.sqrt(vectors.shape[-1]) + sinusoids(first, ids.shape[1], vectors)


def word_embedding(size: int, width: int, padding: int) -> nn.Embedding:
    """[...] int64 -> [..., width], normal numbers of variance 1 / width; ``padding`` is zero."""
    # no padding_idx: it would cut the gradient in reverse mode only, and padding has none to cut
    embedding = nn.Embedding(size, width)
    with torch.no_grad():
        embedding.weight.normal_(std=width**-0.5)
        embedding.weight[padding].zero_()
    return embedding


def _check_names(**choices: tuple[Any, Any]) -> None:
    for option, (name, names) in choices.items():
        if name not in names:
            raise KeyError(f"unknown {option} {name!r}.{did_you_mean(str(name), names)}")


def _check_sizes(source_size: int, target_size: int, tie: str, padding: int) -> None:
    if not 0 <= padding < min(source_size, target_size):
        raise ValueError(
            f"padding is an id of both vocabularies, 0..{min(source_size, target_size) - 1}, got {padding}"
        )
    if tie == "all" and source_size != target_size:
        raise ValueError(
            f"tie='all' needs one vocabulary for both sides, got sizes {source_size} and {target_size}; "
            "use tie='decoder'"
        )
