"""What training texts show of their words or pieces, and texts as ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaweight.data.rows import Rows
from metaweight.data.text.column import texts_of
from metaweight.data.text.padded import PaddedRows, Ragged
from metaweight.data.text.pieces import (
    TextVocabulary,
    encode_texts,
    join_pairs,
    learn_vocabulary,
    load_vocabulary,
)
from metaweight.data.text.vocabulary import UNKNOWN
from metaweight.training.run_folder import RunFolder

VOCABULARY = "vocabulary"


class TextPieces:
    """The words, or pieces, of texts in ``columns``, as a vocabulary has them; that of a pair is one."""

    notes: tuple[str, ...] = ()

    def __init__(self, columns: Sequence[str], vocabulary: TextVocabulary, max_length: int) -> None:
        self.columns, self.vocabulary, self.max_length = tuple(columns), vocabulary, max_length

    @classmethod
    def learn(
        cls, rows: Rows, columns: Sequence[str], *, pieces: str, size: int, max_length: int
    ) -> TextPieces:
        """Of the training rows.  Raises ValueError, with the file, for sizes that do not do."""
        sides = [texts_of(rows, column) for column in columns]
        try:
            vocabulary = learn_vocabulary([text for side in sides for text in side], pieces, size)
        except ValueError as error:
            raise ValueError(f"{rows.file}: {error}") from error
        learnt = cls(columns, vocabulary, max_length)
        ids, cut = learnt._ids(sides)
        count, unknown = sum(map(len, ids)), sum(row.count(UNKNOWN) for row in ids)
        what = "words" if pieces == "words" else "pieces"
        learnt.notes = (
            f"{' and '.join(map(repr, learnt.columns))}: {len(vocabulary):,} {what} have an id, "
            f"{unknown / count:.1%} of the training text is in none",
            *([f"{cut:,} training texts are cut after {max_length} {what}"] if cut else []),
        )
        return learnt

    @classmethod
    def load(cls, record: Mapping[str, Any], folder: Path) -> TextPieces:
        """What ``record`` gave, with the vocabulary that ``keep`` wrote into ``folder``."""
        return cls(record["columns"], load_vocabulary(folder / VOCABULARY), record["max_length"])

    @property
    def record(self) -> dict[str, Any]:
        """All but the vocabulary, as JSON holds it."""
        return {"columns": list(self.columns), "max_length": self.max_length}

    def encode(self, rows: Rows) -> PaddedRows:
        """Ids of each text, or pair.  Raises ValueError, with the place, for what is no text."""
        return PaddedRows(Ragged.of(self._ids([texts_of(rows, column) for column in self.columns])[0]))

    def keep(self, folder: RunFolder) -> None:
        """Write the vocabulary."""
        self.vocabulary.save(folder.path / f"{VOCABULARY}{self.vocabulary.ending}")

    def _ids(self, sides: Sequence[Sequence[str]]) -> tuple[list[list[int]], int]:
        first, *second = (encode_texts(self.vocabulary, side) for side in sides)
        return join_pairs(first, second[0] if second else None, self.max_length)
