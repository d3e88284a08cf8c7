"""Texts, pairs and sentences of tokens as a Hugging Face tokenizer cuts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metaweight.data.text.padded import MaskedRows, Ragged

TYPES = "token_type_ids"
"""Which text of a pair a piece is of, for models that ask."""


def tokenized_texts(tokenizer: Any, sides: Sequence[Sequence[str]], limit: int) -> MaskedRows:
    """Texts, or pairs, cut to ``limit`` pieces, with what the tokenizer puts around and between them."""
    found = tokenizer(*map(list, sides), truncation=True, max_length=limit)
    types = Ragged.of(found[TYPES]) if TYPES in found else None
    return MaskedRows(Ragged.of(found["input_ids"], padding=tokenizer.pad_token_id), types=types)


def tokenized_sentences(tokenizer: Any, sentences: Sequence[Sequence[str]], limit: int) -> MaskedRows:
    """Sentences cut to ``limit`` pieces; ``places`` are those of each token's first piece, as far as that is
    there.  A token without a piece is the unknown one."""
    ids, places = [], []
    for sentence in sentences:
        found, first = _cut(tokenizer, sentence, limit)
        if set(range(len(sentence))) - set(first) and len(found) < limit:
            bare = [token if place in first else tokenizer.unk_token for place, token in enumerate(sentence)]
            found, first = _cut(tokenizer, bare, limit)
        ids.append(found)
        places.append([first[place] for place in range(len(first))])
    return MaskedRows(Ragged.of(ids, padding=tokenizer.pad_token_id), places=Ragged.of(places, padding=-1))


def _cut(tokenizer: Any, sentence: Sequence[str], limit: int) -> tuple[list[int], dict[int, int]]:
    """Ids of the pieces, and of each token that has one the position of its first."""
    found = tokenizer(list(sentence), is_split_into_words=True, truncation=True, max_length=limit)
    first: dict[int, int] = {}
    for place, token in enumerate(found.word_ids(0)):
        if token is not None:
            first.setdefault(token, place)
    return found["input_ids"], first
