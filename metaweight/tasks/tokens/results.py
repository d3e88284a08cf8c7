"""What the tagger says of each training token, for a person to see which label of a sentence is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaweight.core.atomic import whole_file
from metaweight.core.csv_columns import BLOCK, write_blocks
from metaweight.core.csv_text import number_as_cell
from metaweight.data.origins import COLUMNS, Origins
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
from metaweight.training.sample_weights import named

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
    student, by_sentence = trained.trainer.reweighter.student, trained.weights.mean_weight().numpy()
    by_token = next((w for w in trained.watchers if isinstance(w, TokenWeights)), None)
    said = Said(prepared.targets.classes, prepared.frame[column].tolist(), prepared.given, prepared.origins)
    batches = loader(config, prepared, "train", training=False, positions=prepared.own).epoch(0)

    def weights(index: int, tokens: int) -> Sequence[float]:
        return [by_sentence[index]] * tokens if by_token is None else by_token.of(index)

    with whole_file(folder.path / TOKENS) as file:
        write_blocks(file, HEADER, said.blocks(token_probabilities(student, batches), weights))


def later_tokens(
    classes: Sequence[str],
    sentences: Sequence[Sequence[str]],
    given: Tensor,
    inputs: Inputs,
    origins: Origins,
) -> ByToken:
    """Of m sentences that come after a run, with the codes ``given`` [m, T] of their labels."""

    said = Said(classes, sentences, given, origins)

    def rows(student: Student, weights: Sequence[Sequence[float]]) -> Iterator[tuple[object, ...]]:
        order = torch.arange(len(given))
        batches = RowsLoader(
            inputs, given, order, batch_size=inputs.at_once, shuffle=False, device=student.device
        )

        def each(index: int, tokens: int) -> Sequence[float]:
            own = weights[index]
            return own if len(own) == tokens else [*own] * tokens

        for block in said.blocks(token_probabilities(student, batches.epoch(0)), each):
            cells = {**block, "weight": [number_as_cell(weight) for weight in block["weight"].tolist()]}
            columns = (np.asarray(cells[name], dtype=object).tolist() for name in HEADER)
            yield from zip(*columns, strict=True)

    return rows


@dataclass(frozen=True)
class Said:
    """Sentences with the codes ``given`` [n, T] of their labels, to be set beside what the tagger says."""

    classes: Sequence[str]
    sentences: Sequence[Sequence[str]]
    given: Tensor
    origins: Origins

    def blocks(
        self, shares: Iterable[tuple[int, Tensor]], weights: Callable[[int, int], Sequence[float]]
    ) -> Iterator[dict[str, Any]]:
        """Columns ``HEADER`` of some sentences at a time.

        ``shares``: see ``token_probabilities``; ``weights``: those of the sentence of an index with so many
        tokens.
        """
        told: list[tuple[int, Tensor]] = []
        tokens = 0
        for index, own in shares:
            told.append((index, own))
            tokens += len(own)
            if tokens >= BLOCK:
                yield self._block(told, weights)
                told, tokens = [], 0
        if tokens:
            yield self._block(told, weights)

    def _block(
        self, told: Sequence[tuple[int, Tensor]], weights: Callable[[int, int], Sequence[float]]
    ) -> dict[str, Any]:
        index = [one for one, _ in told]
        lengths = [len(own) for _, own in told]
        most, said = (found.cpu() for found in torch.cat([own for _, own in told]).max(dim=-1))
        if lengths != [len(self.sentences[one]) for one in index]:
            raise ValueError("what is said of a sentence has as many places as it has tokens")
        given = self.given[index]
        origins = zip(*self.origins.select(index).cells(), strict=True)
        cells = [np.repeat(np.fromiter(column, object, len(index)), lengths) for column in origins]
        by_token = [weights(*each) for each in zip(index, lengths, strict=True)]
        return {
            **dict(zip(COLUMNS, cells, strict=True)),
            "index": np.repeat(index, lengths),
            "place": np.concatenate([np.arange(1, length + 1) for length in lengths]),
            "token": [token for one in index for token in self.sentences[one]],
            "label": named(given[given != IGNORED], self.classes),
            "suggested": named(said, self.classes),
            "share": [f"{share:.3g}" for share in most.tolist()],
            "weight": np.concatenate(by_token).astype(np.float64),
        }
