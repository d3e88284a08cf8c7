"""What training sentences show of their tokens, and sentences as ids."""

from __future__ import annotations

from metaweight.data.rows import Rows
from metaweight.data.text.padded import PaddedRows
from metaweight.data.tokens.features import TokenIds
from metaweight.tasks.text.words import VOCABULARY
from metaweight.training.run_folder import RunFolder


class SentenceTokens:
    """The tokens of the training sentences.  Raises ValueError, with the file, for sizes that do not do."""

    def __init__(self, rows: Rows, column: str, *, pieces: str, size: int) -> None:
        self.column = column
        sentences = rows.column(column).tolist()
        try:
            self.tokens = TokenIds(sentences, pieces, size)
        except ValueError as error:
            raise ValueError(f"{rows.file}: {error}") from error
        self.notes = (
            f"{sum(map(len, sentences)):,} training tokens, {self.tokens.unknown(sentences):.1%} of them "
            f"with no id of their own among {len(self.tokens.vocabulary):,}",
        )

    def encode(self, rows: Rows) -> PaddedRows:
        """Ids of the tokens of each sentence."""
        return self.tokens.encode(rows.column(self.column).tolist())

    def keep(self, folder: RunFolder) -> None:
        """Write the vocabulary."""
        vocabulary = self.tokens.vocabulary
        vocabulary.save(folder.path / f"{VOCABULARY}{vocabulary.ending}")
