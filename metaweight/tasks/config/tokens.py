"""The options of a run on labelled tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metaweight.tasks.config.rows import RowsConfig


@dataclass(frozen=True, kw_only=True)
class TokensConfig(RowsConfig):
    """Everything that decides a run on sentences of which each token has a label."""

    task: ClassVar[str] = "tokens"

    data: str = "cldr-dates"
    """cldr-dates (dates, times and lengths of time in English), or a set that --import brings."""
    text: str | None = None
    """Column of the tokens; default: the one that is called so, or a BIO file's first."""
    unit: str = "token"
    """What gets a weight: token, or sentence, the whole of it."""
    pieces: str = "words"
    """How a token is seen: words (itself, its first and last three letters and its shape), or as pieces that
    SentencePiece learns, unigram or bpe."""
    vocab_size: int = 0
    """Words, beginnings, ends and shapes, or pieces, that have an id; 0: up to 20,000, or 4,000 pieces."""
    max_length: int = 256
    """Tokens of a sentence at most; the rest of a longer one is cut off."""
    model: str = "tagger-window"
    """tagger-window, tagger-transformer, or path:FOLDER of a Hugging Face model with its tokenizer."""
    teacher_lr: float = 1e-2
    epochs: int = 8
    meta_batch_size: int = 32
    """Trusted sentences a step."""
    lr: float = 5e-3
    noise: str = "none"
    """none, or uniform: half of the labels of a sentence are others."""
