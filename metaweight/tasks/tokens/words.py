"""What training sentences show of their tokens, and sentences as ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metaweight.data.rows import Rows
from metaweight.data.text.padded import PaddedRows
from metaweight.data.text.pieces import load_vocabulary
from metaweight.data.tokens.features import TokenIds
from metaweight.tasks.text.words import VOCABULARY
from metaweight.training.run_folder import RunFolder


class SentenceTokens:
    """The tokens of sentences in ``column``, as a vocabulary has them."""

    notes: tuple[str, ...] = ()

    def __init__(self, column: str, tokens: TokenIds) -> None:
        self.column, self.tokens = column, tokens

    @classmethod
    def learn(cls, rows: Rows, column: str, *, pieces: str, size: int) -> SentenceTokens:
        """Of the training sentences.  Raises ValueError, with the file, for sizes that do not do."""
        sentences = rows.column(column).tolist()
        try:
            tokens = TokenIds.learn(sentences, pieces, size)
        except ValueError as error:
            raise ValueError(f"{rows.file}: {error}") from error
        learnt = cls(column, tokens)
        learnt.notes = (
            f"{sum(map(len, sentences)):,} training tokens, {tokens.unknown(sentences):.1%} of them "
            f"with no id of their own among {len(tokens.vocabulary):,}",
        )
        return learnt

    @classmethod
    def load(cls, record: Mapping[str, Any], folder: Path) -> SentenceTokens:
        """What ``record`` gave, with the vocabulary that ``keep`` wrote into ``folder``."""
        return cls(record["column"], TokenIds(load_vocabulary(folder / VOCABULARY)))

    @property
    def record(self) -> dict[str, Any]:
        """All but the vocabulary, as JSON holds it."""
        return {"column": self.column}

    def encode(self, rows: Rows) -> PaddedRows:
        """Ids of the tokens of each sentence."""
        return self.tokens.encode(rows.column(self.column).tolist())

    def keep(self, folder: RunFolder) -> None:
        """Write the vocabulary."""
        vocabulary = self.tokens.vocabulary
        vocabulary.save(folder.path / f"{VOCABULARY}{vocabulary.ending}")
