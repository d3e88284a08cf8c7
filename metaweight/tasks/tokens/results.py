"""What the tagger says of each training token, for a person to see which label of a sentence is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from metaweight.core.csv_text import number_as_cell, write_csv
from metaweight.data.origins import COLUMNS, Origin, Origins
from metaweight.data.rows.loader import IGNORED, Inputs, RowsLoader
from metaweight.student.student import Student
from metaweight.tasks.assembly import Assembled
from metaweight.tasks.config import TokensConfig
from metaweight.tasks.rating.new import ByToken
from metaweight.tasks.rows import PreparedRows
from metaweight.tasks.rows.data import loader
from metaweight.tasks.tokens.said import token_probabilities
from metaweight.tasks.tokens.weights import TokenWeights
from metaweight.training.run_folder import RunFolder

TOKENS = "tokens.csv"
HEADER = (*COLUMNS, "index", "place", "token", "label", "suggested", "share", "weight")


def save_tokens(
    config: TokensConfig, prepared: PreparedRows, trained: Assembled, column: str, folder: RunFolder
) -> None:
    """``tokens.csv``: a row a token of the training sentences, probes left out.

    ``row`` is where its sentence begins, ``place`` counts from 1 in it; ``suggested`` is what the tagger of
    the last epoch says, with the share of its probability; ``weight`` is the token's, or its sentence's where
    sentences are units.
    """
    write_csv(folder.path / TOKENS, HEADER, _rows(config, prepared, trained, column))


def later_tokens(
    classes: Sequence[str],
    sentences: Sequence[Sequence[str]],
    given: Tensor,
    inputs: Inputs,
    origins: Origins,
) -> ByToken:
    """Of m sentences that come after a run, with the codes ``given`` [m, T] of their labels."""

    def rows(student: Student, weights: Sequence[Sequence[float]]) -> Iterator[tuple[object, ...]]:
        order = torch.arange(len(given))
        batches = RowsLoader(
            inputs, given, order, batch_size=inputs.at_once, shuffle=False, device=student.device
        )
        for index, shares in token_probabilities(student, batches.epoch(0)):
            own = given[index]
            labels = [classes[code] for code in own[own != IGNORED].tolist()]
            each = weights[index] if len(weights[index]) == len(labels) else [*weights[index]] * len(labels)
            yield from _of_sentence(origins[index], index, sentences[index], labels, classes, shares, each)

    return rows


def _rows(
    config: TokensConfig, prepared: PreparedRows, trained: Assembled, column: str
) -> Iterator[tuple[object, ...]]:
    student, classes = trained.trainer.reweighter.student, prepared.targets.classes
    by_token = next((w for w in trained.watchers if isinstance(w, TokenWeights)), None)
    by_sentence = trained.weights.mean_weight().tolist()
    sentences = prepared.frame[column].tolist()
    batches = loader(config, prepared, "train", training=False, positions=prepared.own).epoch(0)
    for index, shares in token_probabilities(student, batches):
        given = prepared.given[index]
        labels = [classes[code] for code in given[given != IGNORED].tolist()]
        weights = [by_sentence[index]] * len(labels) if by_token is None else by_token.of(index)
        origin = prepared.origins[index]
        yield from _of_sentence(origin, index, sentences[index], labels, classes, shares, weights)


def _of_sentence(
    origin: Origin,
    index: int,
    sentence: Sequence[str],
    labels: Sequence[str],
    classes: Sequence[str],
    shares: Tensor,
    weights: Sequence[float],
) -> Iterator[tuple[object, ...]]:
    """A row for each of its t tokens, of which the tagger says ``shares`` [t, C]."""
    most, said = shares.max(dim=-1)
    suggested = [classes[code] for code in said.tolist()]
    words = zip(sentence, labels, suggested, most.tolist(), weights, strict=True)
    for place, (token, label, other, share, weight) in enumerate(words, 1):
        yield *origin.cells, index, place, token, label, other, f"{share:.3g}", number_as_cell(weight)
