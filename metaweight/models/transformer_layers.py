"""The layers of a Transformer's encoder and decoder, with their norms before or after each branch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from metaweight.models.attention import CrossAttention, KeysValues, Past, SelfAttention

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


@dataclass(frozen=True)
class LayerOptions:
    """What all layers of a Transformer have in common; ``pre``: norms before the branches, not after."""

    width: int
    heads: int
    feedforward: int
    dropout: float
    attention_dropout: float
    pre: bool
    activation: str

    def mlp(self) -> nn.Sequential:
        """A new MLP [..., width] -> [..., width]."""
        first, last = nn.Linear(self.width, self.feedforward), nn.Linear(self.feedforward, self.width)
        for linear in (first, last):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        return nn.Sequential(first, ACTIVATIONS[self.activation](), last)


class _Layer(nn.Module):
    """The residual sum around a branch, with its norm and dropout."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__()
        self.pre = options.pre
        self.dropout = nn.Dropout(options.dropout)

    def add(self, x: Tensor, norm: nn.Module, branch: Callable[[Tensor], Tensor]) -> Tensor:
        if self.pre:
            x = x + self.dropout(branch(norm(x)))
            return x
        total: Tensor = norm(x + self.dropout(branch(x)))
        return total


class EncoderLayer(_Layer):
    """Self-attention and an MLP: [B, S, D] -> [B, S, D]."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__(options)
        width, heads, dropout = options.width, options.heads, options.attention_dropout
        self.attend_self, self.norm_self = SelfAttention(width, heads, dropout=dropout), nn.LayerNorm(width)
        self.mlp, self.norm_mlp = options.mlp(), nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``mask`` [B, 1, 1, S], true at real tokens."""
        x = self.add(x, self.norm_self, lambda y: self.attend_self(y, mask=mask))
        return self.add(x, self.norm_mlp, self.mlp)


class DecoderLayer(_Layer):
    """Causal self-attention, attention to the source and an MLP: [B, T, D] -> [B, T, D]."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__(options)
        width, heads, dropout = options.width, options.heads, options.attention_dropout
        self.attend_self, self.norm_self = SelfAttention(width, heads, dropout=dropout), nn.LayerNorm(width)
        self.attend_source = CrossAttention(width, heads, dropout=dropout)
        self.norm_source = nn.LayerNorm(width)
        self.mlp, self.norm_mlp = options.mlp(), nn.LayerNorm(width)

    def forward(self, x: Tensor, memory: KeysValues, mask: Tensor, past: Past | None = None) -> Tensor:
        """``mask`` [B, 1, 1, S]: real source tokens.  No target mask: padding at the end is never past."""
        x = self.add(x, self.norm_self, lambda y: self.attend_self(y, causal=past is None, past=past))
        x = self.add(x, self.norm_source, lambda y: self.attend_source(y, memory, mask=mask))
        return self.add(x, self.norm_mlp, self.mlp)
