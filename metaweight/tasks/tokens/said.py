"""What a tagger says of the tokens of sentences, those of training or later ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.core.modes import evaluating
from metaweight.data.rows import Rows
from metaweight.data.rows.loader import IGNORED, RowsLoader
from metaweight.data.tokens.sentences import sentences_of
from metaweight.student.student import Student
from metaweight.tasks.text.pretrained import PretrainedTokens
from metaweight.tasks.tokens.words import SentenceTokens
from metaweight.training.evaluation import without_taps


def token_probabilities(student: Student, batches: Iterable[Batch]) -> Iterator[tuple[int, Tensor]]:
    """The index of each sentence and the probabilities [t, C] of its t tokens, in eval mode."""
    with evaluating(student.module):
        for batch in batches:
            shares, real = without_taps(student, batch).outputs.softmax(dim=-1), batch.targets != IGNORED
            for index, own, tokens in zip(batch.index.tolist(), shares, real, strict=True):
                yield index, own[tokens]


def later_sentences(encoder: SentenceTokens | PretrainedTokens, rows: Rows) -> RowsLoader:
    """Batches of sentences that have no labels, in order, with targets 0.

    Raises ValueError, with the place, for a cell that is no list of words, a sentence without a token and one
    with more than the model has room for.
    """
    sentences = sentences_of(rows, encoder.column)
    lengths = [len(sentence) for sentence in sentences]
    room = encoder.lengths(rows) if isinstance(encoder, PretrainedTokens) else lengths
    for place, (tokens, most) in enumerate(zip(lengths, room, strict=True)):
        if not tokens:
            raise ValueError(f"{rows.origins[place]}: this sentence has no token: take the row out")
        if most < tokens:
            raise ValueError(
                f"{rows.origins[place]}: the model has room for {most} of the {tokens} tokens of this "
                "sentence: cut it in two"
            )
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    targets = torch.where(real, 0, IGNORED)
    inputs = encoder.encode(rows)
    return RowsLoader(inputs, targets, torch.arange(len(rows)), batch_size=inputs.at_once, shuffle=False)
