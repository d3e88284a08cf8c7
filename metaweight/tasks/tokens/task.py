"""Sentences of tokens with wrong labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from metaweight.core.processes import Processes
from metaweight.core.weights import auroc
from metaweight.data.rows import Rows, Targets
from metaweight.data.rows.loader import IGNORED, Inputs
from metaweight.data.rows.parts import Parts, without_training
from metaweight.data.text.pieces import check_pieces
from metaweight.data.tokens import Sentence, as_sentences, read_labels, read_sentences
from metaweight.data.tokens.sentences import label_column, token_column
from metaweight.data.tokens.targets import TokenTargets
from metaweight.models.pretrained import STATES, check_pretrained, is_pretrained, pretrained_time_axes
from metaweight.models.text import (
    build_text,
    checked_text_options,
    default_text_taps,
    tagger_time_axes,
    taggers,
)
from metaweight.student.losses import TokenCrossEntropy
from metaweight.student.student import Student
from metaweight.tasks.assembly import Assembled, execution
from metaweight.tasks.config.tokens import TokensConfig
from metaweight.tasks.figures import Headline
from metaweight.tasks.outcome import Outcome
from metaweight.tasks.rating.new import ByToken
from metaweight.tasks.rows import Encoder, PreparedRows, RowsTask
from metaweight.tasks.rows.data import Learnt
from metaweight.tasks.rows.figures import PRESENTATION
from metaweight.tasks.rows.rating import RowsReader
from metaweight.tasks.text.pretrained import PretrainedTokens
from metaweight.tasks.tokens.measures import measure
from metaweight.tasks.tokens.results import later_tokens, save_tokens
from metaweight.tasks.tokens.sets import labelled_tokens
from metaweight.tasks.tokens.weights import TokenWeights
from metaweight.tasks.tokens.words import SentenceTokens
from metaweight.training.callbacks import Callback
from metaweight.training.evaluation import Evaluate
from metaweight.training.run_folder import RunFolder


class TokensTask(RowsTask[TokensConfig]):
    """A tagger of sentences; how good it is on test sentences, and which training sentences look wrong.

    Figures: as ``RowsTask``; ``accuracy`` and ``f1`` are of tokens, see ``measure``; ``auroc`` and
    ``realised_noise`` of units: tokens, or sentences, wrong where a label is.
    """

    config = TokensConfig
    sets = labelled_tokens
    auto: ClassVar[Mapping[str, Any]] = {"tagged": True}
    presentation = replace(
        PRESENTATION, counted="tokens", watched=Headline("valid F1", "valid_f1", "{:.1f} %")
    )

    def check_parts(self, config: TokensConfig) -> None:
        if is_pretrained(config.model):
            check_pretrained(config.model, config.model_options)
        else:
            checked_text_options(taggers, config.model, config.model_options)
        check_pieces(config.pieces, config.vocab_size, config.max_length)
        self._loss(config)
        if config.target is not None:
            raise ValueError("target is what a row's one label is, and here each token has one: leave it out")

    def read(self, config: TokensConfig, file: str, part: str) -> Rows:
        return read_sentences(file, part, tokens=config.text, label=config.label)

    def label(self, config: TokensConfig, train: Rows) -> str:
        return label_column(train, config.label)

    def usable(self, config: TokensConfig, parts: Parts) -> Parts:
        return _sentences(config, parts)

    def targets(self, config: TokensConfig, parts: Parts) -> Targets:
        rows = filter(None, (parts.train, parts.meta, parts.valid, parts.test))
        width = max(len(cell) for part in rows for cell in parts.cells(part))
        return read_labels(parts.cells(parts.train), parts.label, parts.train.file, width=width)

    def keep(self, prepared: PreparedRows, folder: RunFolder) -> None:
        super().keep(prepared, folder)
        _encoder(prepared).keep(folder)

    def ignored(self, config: TokensConfig, parts: Parts) -> Sequence[str]:
        learnt = token_column(parts.train, config.text), parts.label
        return [name for name in parts.train.frame.columns if name not in learnt]

    def encoder(self, config: TokensConfig, rows: Rows) -> SentenceTokens | PretrainedTokens:
        column = token_column(rows, config.text)
        if is_pretrained(config.model):
            return PretrainedTokens(column, config.model, max_length=config.max_length)
        return SentenceTokens.learn(rows, column, pieces=config.pieces, size=config.vocab_size)

    def settled(self, config: TokensConfig, label: str, encoder: Encoder) -> TokensConfig:
        assert isinstance(encoder, SentenceTokens | PretrainedTokens)
        return replace(config, label=label, text=encoder.column)

    def later(self, asked: TokensConfig, settled: TokensConfig, file: str) -> Rows:
        rows = self.read(asked, file, "train")  # of a file without header columns have no names to go by
        names = {token_column(rows, asked.text): settled.text, self.label(asked, rows): settled.label}
        return replace(rows, frame=rows.frame.rename(columns=names))

    def kept_encoder(
        self, config: TokensConfig, record: Mapping[str, Any], folder: Path
    ) -> SentenceTokens | PretrainedTokens:
        if is_pretrained(config.model):
            return PretrainedTokens(record["column"], config.model, max_length=config.max_length)
        return SentenceTokens.load(record, folder)

    def later_targets(self, targets: Targets, cells: Sequence[Any]) -> TokenTargets:
        return TokenTargets("tokens", targets.classes, width=max(map(len, cells)))

    def by_token(
        self, reader: RowsReader[TokensConfig], parts: Parts, given: Tensor, inputs: Inputs
    ) -> ByToken:
        sentences = parts.train.frame[_encoder(reader).column].tolist()
        return later_tokens(reader.targets.classes, sentences, given, inputs, parts.train.origins)

    def taps(self, config: TokensConfig) -> Sequence[str]:
        return STATES if is_pretrained(config.model) else default_text_taps(taggers, config.model)

    def module(self, config: TokensConfig, prepared: Learnt) -> nn.Module:
        encoder, outputs = _encoder(prepared), prepared.targets.outputs
        if isinstance(encoder, PretrainedTokens):
            return encoder.module(outputs)
        size, options = len(encoder.tokens.vocabulary), config.model_options
        return build_text(taggers, config.model, vocabulary=size, outputs=outputs, **options)

    def student(self, config: TokensConfig, module: nn.Module, prepared: Learnt) -> Student:
        return Student(
            module,
            self._loss(config),
            taps=config.taps or self.taps(config),
            time_axes=pretrained_time_axes if is_pretrained(config.model) else tagger_time_axes,
            execution=execution(config),
        )

    def counts(self, prepared: PreparedRows) -> Sequence[int]:
        given = prepared.given[prepared.splits.train]
        labels = given[given != IGNORED]
        counts: list[int] = torch.bincount(labels, minlength=len(prepared.targets.classes)).tolist()
        return counts

    def watchers(self, config: TokensConfig, prepared: PreparedRows) -> Iterable[Callback]:
        """The weights of tokens, where they are units."""
        if config.unit != "token":
            return ()
        return (TokenWeights(prepared.given, config.warmup_epochs, processes=Processes.at_hand()),)

    def measure(self, prepared: PreparedRows) -> Evaluate:
        return measure(prepared.targets.classes)

    def conclude(
        self, config: TokensConfig, prepared: PreparedRows, trained: Assembled, folder: RunFolder | None
    ) -> Outcome:
        if folder is not None:
            save_tokens(config, prepared, trained, _encoder(prepared).column, folder)
        outcome = super().conclude(config, prepared, trained, folder)
        return replace(outcome, figures={**outcome.figures, **_of_tokens(prepared, trained)})

    def _loss(self, config: TokensConfig) -> TokenCrossEntropy:
        # TokenCrossEntropy says which units there are
        return TokenCrossEntropy(IGNORED, unit=config.unit)  # type: ignore[arg-type]


def _encoder(prepared: Learnt) -> SentenceTokens | PretrainedTokens:
    assert isinstance(prepared.encoder, SentenceTokens | PretrainedTokens)
    return prepared.encoder


def _of_tokens(prepared: PreparedRows, trained: Assembled) -> dict[str, float]:
    """``auroc`` and ``realised_noise`` of tokens, where these are units and it is known which are wrong."""
    weights = next((w for w in trained.watchers if isinstance(w, TokenWeights)), None)
    if weights is None or prepared.spoilt is None:
        return {}
    own = torch.zeros(len(prepared.given), 1, dtype=torch.bool)
    own[prepared.own] = True
    real = prepared.given != IGNORED
    wrong, mean, weighed = (prepared.given != prepared.right)[real], weights.mean(), own.expand_as(real)[real]
    known = weighed & mean.isfinite()
    return {
        "auroc": auroc(mean[known], wrong[known]),
        "realised_noise": float(wrong[weighed].double().mean()),
    }


def _sentences(config: TokensConfig, parts: Parts) -> Parts:
    """Each sentence cut to ``max_length`` tokens, or to what a model of pieces has room for.

    Training sentences without a token are left out.  Raises ValueError, with the place, for trusted,
    validation or test sentences without one.
    """
    import pandas as pd

    column, pieces = token_column(parts.train, config.text), None
    if is_pretrained(config.model):
        pieces = PretrainedTokens(column, config.model, max_length=config.max_length)
    cut: dict[str, Rows] = {}
    notes = []
    for part in ("train", "meta", "valid", "test"):
        rows = getattr(parts, part)
        if rows is None:
            continue
        read = as_sentences(rows, tokens=column, label=parts.label)
        lengths = np.array([len(row) for row in read.frame[column]])
        room = np.minimum(lengths, config.max_length) if pieces is None else np.array(pieces.lengths(read))
        if part != "train" and not lengths.all():
            place = rows.origins[int(np.flatnonzero(lengths == 0)[0])]
            raise ValueError(f"{place}: this sentence has no token: take the row out")
        if (cut_short := int((lengths > room).sum())) > 0:
            what = "tokens" if pieces is None else "pieces of their tokens"
            limit = config.max_length if pieces is None else pieces.limit
            notes.append(f"{rows.file}: {cut_short:,} sentences are cut after {limit} {what}")
            for name in (column, parts.label):
                kept = zip(read.frame[name], room.tolist(), strict=True)
                read.frame[name] = pd.Series([Sentence(row[:most]) for row, most in kept], dtype=object)
        cut[part] = read
    empty = np.array([len(row) == 0 for row in cut["train"].frame[column]], dtype=bool)
    whole = replace(
        parts,
        train=cut["train"],
        meta=cut.get("meta"),
        valid=cut.get("valid"),
        test=cut.get("test"),
        notes=(*parts.notes, *notes),
    )
    return without_training(whole, empty, f"no token in {column!r}")
