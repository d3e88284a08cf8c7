"""How a token is seen: as itself, its first and last letters and its shape, or as pieces; as ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, groupby

from metaweight.core.plain_text import plain
from metaweight.data.text.padded import PaddedRows, Ragged
from metaweight.data.text.pieces import SIZES, TextVocabulary, learn_vocabulary
from metaweight.data.text.vocabulary import UNKNOWN
from metaweight.data.text.words import WordVocabulary, frequent_words

AFFIX = 3
"""Letters of a beginning and of an end."""
PIECES_OF_A_TOKEN = 8


class TokenIds:
    """The ids of tokens in a vocabulary."""

    def __init__(self, vocabulary: TextVocabulary) -> None:
        self.vocabulary = vocabulary
        self._known: dict[str, list[int]] = {}

    @classmethod
    def learn(cls, sentences: Sequence[Sequence[str]], pieces: str, size: int) -> TokenIds:
        """Of the training sentences.  Raises ValueError as ``learn_vocabulary``."""
        if pieces == "words":
            seen = (features(token) for token in chain.from_iterable(sentences))
            return cls(frequent_words(seen, size or SIZES[pieces]))
        return cls(learn_vocabulary([" ".join(row) for row in sentences], pieces, size))

    def encode(self, sentences: Sequence[Sequence[str]]) -> PaddedRows:
        """Ids [n, T, F] of sentences of one token or more."""
        new = {token for token in chain.from_iterable(sentences) if token not in self._known}
        self._known.update(zip(new, self._bags(list(new)), strict=True))
        return PaddedRows(Ragged.of_bags([[self._known[token] for token in row] for row in sentences]))

    def unknown(self, sentences: Sequence[Sequence[str]]) -> float:
        """Share of the tokens that have no id of their own."""
        self.encode(sentences)
        bags = [self._known[token] for token in chain.from_iterable(sentences)]
        return sum(UNKNOWN in bag for bag in bags) / len(bags)

    def _bags(self, tokens: Sequence[str]) -> list[list[int]]:
        if isinstance(self.vocabulary, WordVocabulary):
            return [self._features(token) for token in tokens]
        return [ids[:PIECES_OF_A_TOKEN] or [UNKNOWN] for ids in self.vocabulary.encode(tokens)]

    def _features(self, token: str) -> list[int]:
        """The word, known or not, and of the others those that are known."""
        assert isinstance(self.vocabulary, WordVocabulary)
        word, *others = self.vocabulary.ids(features(token))
        return [word, *(known for known in others if known != UNKNOWN)]


def features(token: str) -> tuple[str, ...]:
    """A token lower-cased, its shape (Xxx of London, d of 1999), its first and its last letters."""
    word = plain(token).casefold()
    return f"word {word}", f"shape {shape(plain(token))}", f"first {word[:AFFIX]}", f"last {word[-AFFIX:]}"


def shape(token: str) -> str:
    """X for capitals, x for other letters, d for digits, other signs as they are; of a run at most three."""
    kinds = re.sub(r"\d", "d", "".join("X" if c.isupper() else "x" if c.isalpha() else c for c in token))
    return "".join(kind * min(len(list(run)), 3) for kind, run in groupby(kinds))
