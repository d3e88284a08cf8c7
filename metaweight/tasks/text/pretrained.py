"""Texts, and sentences of tokens, for a Hugging Face model out of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from metaweight.data.rows import Rows
from metaweight.data.text.column import texts_of
from metaweight.data.text.padded import MaskedRows
from metaweight.data.text.tokenized import tokenized_sentences, tokenized_texts
from metaweight.models.pretrained import load_classifier, load_tagger, load_tokenizer, longest_input
from metaweight.training.run_folder import RunFolder


class PretrainedText:
    """Texts, or pairs, as the tokenizer in the folder of model ``name`` cuts them; nothing is learnt."""

    notes: tuple[str, ...] = ()

    def __init__(self, columns: Sequence[str], name: str, *, max_length: int) -> None:
        self.columns, self.name = tuple(columns), name
        self.tokenizer = load_tokenizer(name)
        self.limit = longest_input(name, self.tokenizer, max_length)

    @property
    def record(self) -> dict[str, Any]:
        """What it was built with beside the model, as JSON holds it."""
        return {"columns": list(self.columns)}

    def look_at(self, rows: Rows) -> None:
        """Say in ``notes`` how training rows are cut."""
        full, name = int((self.encode(rows).ids.lengths == self.limit).sum()), self.name
        self.notes = (
            f"{' and '.join(map(repr, self.columns))}: pieces of the tokenizer in {name}",
            *([f"{full:,} training texts fill all {self.limit} pieces, or are cut there"] if full else []),
        )

    def encode(self, rows: Rows) -> MaskedRows:
        """Pieces of each text.  Raises ValueError, with the place, for what is no text."""
        return tokenized_texts(
            self.tokenizer, [texts_of(rows, column) for column in self.columns], self.limit
        )

    def module(self, outputs: int) -> nn.Module:
        """The model with a head for so many outputs."""
        return load_classifier(self.name, outputs, self.tokenizer.pad_token_id)

    def keep(self, folder: RunFolder) -> None:
        """Nothing: the folder of the model has all of it."""


class PretrainedTokens:
    """Sentences as the tokenizer in the folder of model ``name`` cuts their tokens; nothing is learnt."""

    def __init__(self, column: str, name: str, *, max_length: int) -> None:
        self.column, self.name = column, name
        self.tokenizer = load_tokenizer(name)
        self.limit = longest_input(name, self.tokenizer, max_length)
        self.notes = (f"{column!r}: pieces of the tokenizer in {name}; a token is its first piece",)

    @property
    def record(self) -> dict[str, Any]:
        """What it was built with beside the model, as JSON holds it."""
        return {"column": self.column}

    def encode(self, rows: Rows) -> MaskedRows:
        """Pieces of each sentence."""
        return tokenized_sentences(self.tokenizer, rows.column(self.column).tolist(), self.limit)

    def lengths(self, rows: Rows) -> list[int]:
        """Tokens of each sentence that there is room for."""
        places = self.encode(rows).places
        assert places is not None
        lengths: list[int] = places.lengths.tolist()
        return lengths

    def module(self, outputs: int) -> nn.Module:
        """The model with a head for so many outputs."""
        return load_tagger(self.name, outputs, self.tokenizer.pad_token_id)

    def keep(self, folder: RunFolder) -> None:
        """Nothing: the folder of the model has all of it."""
