"""Words of a text by a rule that needs no language, and the vocabulary of the most frequent ones."""

from __future__ import annotations

import functools
import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metaweight.core.atomic import whole_file
from metaweight.core.plain_text import is_empty, plain
from metaweight.data.text.vocabulary import BOS, UNKNOWN

RARE = 2
"""A word of the vocabulary occurs so often or more in the training text."""
UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Characters of scripts that put no space between words, each a word of its own: kana and Han."""


def words_of(text: str) -> list[str]:
    """The words of a text, lower-cased; a sign that is neither letter nor digit is a word.

    Of its ``plain`` form: characters that show nothing are in none, and an empty text has none.  Letters,
    digits and the marks on them make a word, also around an apostrophe: don't.  Each Han character and kana
    is one.  Text of other scripts without spaces (Thai, Khmer) needs pieces, not words.
    """
    return _rule().findall(plain(text).casefold())


@functools.cache
def _rule() -> re.Pattern[str]:
    marks = "".join(
        chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M"
    )
    inside = rf"(?:[^\W_{UNSPACED}]|[{marks}])"
    return re.compile(rf"[{UNSPACED}]|{inside}+(?:['’]{inside}+)*|\S")


@dataclass(frozen=True)
class WordVocabulary:
    """Words and their ids: padding 0, unknown 1, separator 2, then the most frequent ones.

    Equal words in equal order are equal vocabularies.  Raises ValueError for a word that is there twice.
    """

    words: tuple[str, ...]
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = {word: place for place, word in enumerate(self.words, BOS + 1)}
        if len(ids) < len(self.words):
            raise ValueError("a vocabulary holds each word once")
        object.__setattr__(self, "_ids", ids)

    def __len__(self) -> int:
        return BOS + 1 + len(self.words)

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Ids of the words of each sentence."""
        return [self.ids(words_of(sentence)) for sentence in sentences]

    def ids(self, words: Iterable[str]) -> list[int]:
        """Of words as ``words_of`` gives them."""
        return [self._ids.get(word, UNKNOWN) for word in words]

    def save(self, path: Path) -> None:
        """Write the words in the order of their ids, from 3 on, as a JSON list, whole or not at all."""
        with whole_file(path) as file:
            file.write(json.dumps(self.words, ensure_ascii=False, indent=0).encode())

    @classmethod
    def load(cls, path: Path) -> WordVocabulary:
        """Raises FileNotFoundError where there is no such file, ValueError where it is damaged."""
        if not path.is_file():
            raise FileNotFoundError(f"the vocabulary {path} is missing: copy it from where the run was made")
        try:
            words = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise ValueError("it is no list of words")
            return cls(tuple(words))
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}; copy it from where the run was made") from error

    @property
    def ending(self) -> str:
        """Of the name of its file."""
        return ".json"


def learn_words(sentences: Iterable[str], size: int) -> WordVocabulary:
    """The words of ``sentences`` that occur ``RARE`` times or more, the most frequent ones; ``size`` ids.

    Raises ValueError as ``frequent_words``, and for text of which nothing is left.
    """
    return frequent_words((words_of(sentence) for sentence in sentences if not is_empty(sentence)), size)


def frequent_words(rows: Iterable[Iterable[str]], size: int) -> WordVocabulary:
    """As ``learn_words``, of rows of words.

    Of words as frequent as each other the one that sorts first comes first.  Raises ValueError for a size
    that has no room for a word, and where there is no word.
    """
    if size <= BOS + 1:
        raise ValueError(f"vocab_size is more than the {BOS + 1} special ids, got {size}")
    counts = Counter(word for row in rows for word in row)
    if not counts:
        raise ValueError("a vocabulary is learnt from text, got no sentence that is not empty")
    often = [(-count, word) for word, count in counts.items() if count >= RARE]
    return WordVocabulary(tuple(word for _, word in sorted(often)[: size - BOS - 1]))
