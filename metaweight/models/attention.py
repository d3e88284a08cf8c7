"""Multi-head attention with packed projections, one query at a time as well."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KeysValues = tuple[Tensor, Tensor]
"""Keys and values, both [B, H, S, D / H] for H heads."""
_POSITIONS = 16
"""Room for so many positions at first; each time it is full, twice as many."""


class SelfAttention(nn.Module):
    """Attention of a sequence to itself, [B, T, D] -> [B, T, D], with one [3D, D] matrix for its input.

    ``dropout``: probability that a training pass drops an attention weight; the kernel draws it.
    Vaswani et al. (2017), section 3.2.  Raises ValueError where ``heads`` does not divide ``width``.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        _check_heads(width, heads)
        self.heads, self.dropout = heads, dropout
        self.project = _packed(width, 3)
        self.output = _packed(width, 1, gain=1.0)

    def forward(
        self, x: Tensor, *, mask: Tensor | None = None, causal: bool = False, past: Past | None = None
    ) -> Tensor:
        """``mask`` [B, 1, 1, T], true where a key counts; ``causal``: position t sees 0..t only.

        With ``past``, ``x`` [B, 1, D] is the next position: it sees itself and all that the past holds,
        to which it is appended.
        """
        packed = self.project(x)
        if past is not None:
            past.append(packed[:, 0, x.shape[-1] :])
            (queries,) = _split(packed[:, :, : x.shape[-1]], 1, self.heads)
            keys, values = _split(past.held.transpose(0, 1), 2, self.heads)
        else:
            queries, keys, values = _split(packed, 3, self.heads)
        dropout = self.dropout if self.training else 0.0
        mixture = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=causal
        )
        output: Tensor = self.output(mixture.transpose(1, 2).flatten(2))
        return output


class CrossAttention(nn.Module):
    """Attention of [B, T, D] to a memory [B, S, D]; key and value come from one [2D, D] matrix.

    ``dropout`` and errors: see ``SelfAttention``.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        _check_heads(width, heads)
        self.heads, self.dropout = heads, dropout
        self.query = _packed(width, 1)
        self.key_value = _packed(width, 2)
        self.output = _packed(width, 1, gain=1.0)

    def keys_values(self, memory: Tensor) -> KeysValues:
        """What ``forward`` needs of a memory [B, S, D]: project once, attend to it many times."""
        keys, values = _split(self.key_value(memory), 2, self.heads)
        return keys, values

    def forward(self, x: Tensor, memory: KeysValues, *, mask: Tensor) -> Tensor:
        """``mask`` [B, 1, 1, S], true where a position of the memory counts.

        ``x`` may also be [B * K, 1, D], K rows for each memory: they share its keys and values.
        """
        keys, values = memory
        (queries,) = _split(self.query(x.reshape(len(keys), -1, x.shape[-1])), 1, self.heads)
        dropout = self.dropout if self.training else 0.0
        mixture = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout)
        output: Tensor = self.output(mixture.transpose(1, 2).reshape(x.shape))
        return output


class Past:
    """Keys and values of the positions that self-attention has seen; starts empty.

    They lie in a room of some more positions, so that one more moves none of the others, and position by
    position, so that a row that goes elsewhere moves as one block.  No gradient goes through it.
    """

    def __init__(self) -> None:
        self.room: Tensor | None = None
        self.length = 0

    @property
    def held(self) -> Tensor:
        """[T, B, 2D]: the T positions so far.  Raises ValueError before the first one."""
        if self.room is None:
            raise ValueError("the past has no positions yet")
        return self.room[: self.length]

    def append(self, packed: Tensor) -> None:
        """Add a position: keys and values, packed as [B, 2D]."""
        if self.room is None:
            self.room = packed.new_empty(_POSITIONS, *packed.shape)
        elif self.length == len(self.room):
            room = packed.new_empty(2 * self.length, *packed.shape)
            room[: self.length] = self.room
            self.room = room
        self.room[self.length] = packed
        self.length += 1

    def select(self, rows: Tensor, spare: Tensor | None = None) -> Tensor | None:
        """Row i becomes what row ``rows[i]`` was; rows may repeat or be left out.

        A ``spare`` room that fits becomes the room; what was the room is given back, to be another's spare.
        """
        if self.room is None:
            return spare
        shape = (len(self.room), len(rows), self.room.shape[2])
        room = spare if spare is not None and spare.shape == shape else self.room.new_empty(shape)
        torch.index_select(self.held, 1, rows, out=room[: self.length])
        self.room, left = room, self.room
        return left


def _split(packed: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """[B, T, parts * D] -> ``parts`` tensors [B, heads, T, D / heads]."""
    split: tuple[Tensor, ...] = packed.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    return split


def _packed(width: int, parts: int, *, gain: float = 2**-0.5) -> nn.Linear:
    """A linear layer of ``parts`` square matrices, each drawn by itself after Xavier, with biases zero.

    The gain of what goes into attention is fairseq's: it makes three matrices one packed Xavier draw.
    """
    linear = nn.Linear(width, parts * width)
    with torch.no_grad():
        for block in linear.weight.split(width):
            nn.init.xavier_uniform_(block, gain=gain)
        linear.bias.zero_()
    return linear


def _check_heads(width: int, heads: int) -> None:
    if heads < 1 or width < 1 or width % heads:
        raise ValueError(f"heads divide the width, got width {width} and {heads} heads")
