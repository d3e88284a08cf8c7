"""The options of a run on labelled texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metaweight.tasks.config.rows import RowsConfig


@dataclass(frozen=True, kw_only=True)
class TextConfig(RowsConfig):
    """Everything that decides a run on labelled texts."""

    task: ClassVar[str] = "text"

    data: str = "cldr-languages"
    """cldr-languages (which language is it), or a set that --import brings."""
    text: tuple[str, ...] = ()
    """Column of the text, or the two of a pair; default: the one that holds free text."""
    pieces: str = "words"
    """What a text is cut into: words, or pieces that SentencePiece learns, unigram or bpe."""
    vocab_size: int = 0
    """Words or pieces that have an id, the most frequent; 0: up to 20,000 words or 4,000 pieces."""
    max_length: int = 256
    """Words or pieces of a text at most; the rest of a longer one is cut off."""
    model: str = "text-bag"
    """text-bag, text-transformer, or path:FOLDER of a Hugging Face model with its tokenizer."""
    lr: float = 1e-3
