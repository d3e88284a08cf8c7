"""What texts are cut into, and the vocabulary of it, learnt from the training rows: words or pieces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from metaweight.core.registry import did_you_mean
from metaweight.data.text.vocabulary import BOS, UNKNOWN, Vocabulary, train_vocabulary
from metaweight.data.text.words import WordVocabulary, learn_words

PIECES = ("words", "unigram", "bpe")
SEPARATOR = BOS
"""The id that stands between the two texts of a pair; no text begins with it."""
SIZES = {"words": 20_000, "unigram": 4_000, "bpe": 4_000}
"""Ids of a vocabulary at most, where nobody says."""


class TextVocabulary(Protocol):
    """Texts to ids; padding 0, unknown 1, separator 2."""

    def __len__(self) -> int: ...

    @property
    def ending(self) -> str:
        """Of the name of its file."""
        ...

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Ids of each text."""
        ...

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        ...


def check_pieces(pieces: str, vocab_size: int, max_length: int) -> None:
    """Raise ValueError for an unknown kind of pieces, with the nearest, and for sizes that hold nothing."""
    if pieces not in PIECES:
        raise ValueError(f"unknown pieces {pieces!r}.{did_you_mean(pieces, PIECES)}")
    if vocab_size < 0:
        raise ValueError(f"vocab_size is a number of ids, or 0 for the usual one, got {vocab_size}")
    if max_length < 2:
        raise ValueError(f"max_length is 2 or more, got {max_length}")


def learn_vocabulary(texts: Sequence[str], pieces: str, size: int) -> TextVocabulary:
    """The vocabulary of ``texts``; ``size`` 0: as in ``SIZES``, or as many pieces as the text has.

    Raises ValueError as ``learn_words`` and ``train_vocabulary``.
    """
    if pieces == "words":
        return learn_words(texts, size or SIZES[pieces])
    return train_vocabulary(texts, size or SIZES[pieces], model=pieces, at_most=size == 0)


def load_vocabulary(stem: Path) -> TextVocabulary:
    """The vocabulary that was saved as ``stem`` with its ``ending``.

    Raises as ``Vocabulary.load`` and ``WordVocabulary.load``.
    """
    pieces = stem.with_name(f"{stem.name}.model")
    return (
        Vocabulary.load(pieces)
        if pieces.is_file()
        else WordVocabulary.load(stem.with_name(f"{stem.name}.json"))
    )


def encode_texts(vocabulary: TextVocabulary, texts: Sequence[str]) -> list[list[int]]:
    """Ids of each text, one at least: what no piece stands for is unknown."""
    return [ids or [UNKNOWN] for ids in vocabulary.encode(texts)]


def join_pairs(
    first: Sequence[list[int]], second: Sequence[list[int]] | None, max_length: int
) -> tuple[list[list[int]], int]:
    """Each text, or pair with a separator between, cut to ``max_length`` ids; and how many were cut.

    Of a pair that is too long the longer text is cut first.
    """
    if second is None:
        return [ids[:max_length] for ids in first], sum(len(ids) > max_length for ids in first)
    joined, cut, room = [], 0, max_length - 1
    for one, other in zip(first, second, strict=True):
        cut += len(one) + len(other) > room
        kept = min(len(other), max(room - len(one), room // 2))
        joined.append([*one[: room - kept], SEPARATOR, *other[:kept]])
    return joined, cut
