"""Texts with wrong labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from metaweight.core.plain_text import is_empty
from metaweight.data.rows import Rows
from metaweight.data.rows.loader import Inputs
from metaweight.data.rows.parts import Parts, without_training
from metaweight.data.text.column import text_columns, texts_of
from metaweight.data.text.latent import latent_points
from metaweight.data.text.padded import MaskedRows, PaddedRows
from metaweight.data.text.pieces import check_pieces
from metaweight.models.pretrained import check_pretrained, is_pretrained, pretrained_time_axes
from metaweight.models.stacks import last_layers
from metaweight.models.text import (
    build_text,
    checked_text_options,
    default_text_taps,
    text_models,
    text_time_axes,
)
from metaweight.student.student import Student
from metaweight.tasks.assembly import Assembled, execution
from metaweight.tasks.config.text import TextConfig
from metaweight.tasks.figures import Column, Headline
from metaweight.tasks.outcome import Outcome
from metaweight.tasks.rows import Encoder, PreparedRows, RowsTask
from metaweight.tasks.rows.data import Learnt
from metaweight.tasks.rows.figures import PRESENTATION
from metaweight.tasks.rows.losses import LOSSES
from metaweight.tasks.text.measures import measure_classes
from metaweight.tasks.text.pretrained import PretrainedText
from metaweight.tasks.text.sets import labelled_texts
from metaweight.tasks.text.words import TextPieces
from metaweight.training.run_folder import RunFolder

_ACCURACY, *_OTHERS = PRESENTATION.columns
_TEACHER, _TESTED, *_HEADLINES = PRESENTATION.headlines


class TextTask(RowsTask[TextConfig]):
    """A student of labelled texts; how good it is on test rows, and which training rows look wrong.

    Figures: as ``RowsTask``, and ``macro_f1`` of the test rows in percent where a row has one of several
    classes, else NaN.
    """

    presentation = replace(
        PRESENTATION,
        columns=(_ACCURACY, Column("macro-F1, %", "macro_f1", digits=1, best="highest"), *_OTHERS),
        headlines=(
            _TEACHER,
            _TESTED,
            Headline("macro-F1 on the test rows, {when}", "macro_f1", "{:.2f} %"),
            *_HEADLINES,
        ),
    )
    config = TextConfig
    sets = labelled_texts

    def check_parts(self, config: TextConfig) -> None:
        if is_pretrained(config.model):
            check_pretrained(config.model, config.model_options)
        else:
            checked_text_options(text_models, config.model, config.model_options)
        check_pieces(config.pieces, config.vocab_size, config.max_length)

    def usable(self, config: TextConfig, parts: Parts) -> Parts:
        return _with_text(parts, self._columns(config, parts))

    def keep(self, prepared: PreparedRows, folder: RunFolder) -> None:
        super().keep(prepared, folder)
        _encoder(prepared).keep(folder)

    def ignored(self, config: TextConfig, parts: Parts) -> Sequence[str]:
        learnt = (*self._columns(config, parts), parts.label)
        return [name for name in parts.train.frame.columns if name not in learnt]

    def encoder(self, config: TextConfig, rows: Rows) -> TextPieces | PretrainedText:
        columns = config.text or tuple(rows.frame.columns)
        if is_pretrained(config.model):
            encoder = PretrainedText(columns, config.model, max_length=config.max_length)
            encoder.look_at(rows)
            return encoder
        return TextPieces.learn(
            rows,
            columns,
            pieces=config.pieces,
            size=config.vocab_size,
            max_length=config.max_length,
        )

    def points(self, encoder: Encoder, inputs: Inputs) -> Tensor:
        """By latent semantic analysis of their words or pieces."""
        assert isinstance(inputs, PaddedRows | MaskedRows)
        return latent_points(inputs.ids)

    def settled(self, config: TextConfig, label: str, encoder: Encoder) -> TextConfig:
        assert isinstance(encoder, TextPieces | PretrainedText)
        return replace(config, label=label, text=encoder.columns)

    def kept_encoder(
        self, config: TextConfig, record: Mapping[str, Any], folder: Path
    ) -> TextPieces | PretrainedText:
        if is_pretrained(config.model):
            return PretrainedText(record["columns"], config.model, max_length=config.max_length)
        return TextPieces.load(record, folder)

    def taps(self, config: TextConfig) -> Sequence[str]:
        return default_text_taps(text_models, config.model)

    def module(self, config: TextConfig, prepared: Learnt) -> nn.Module:
        encoder, outputs = _encoder(prepared), prepared.targets.outputs
        if isinstance(encoder, PretrainedText):
            return encoder.module(outputs)
        size, options = len(encoder.vocabulary), config.model_options
        return build_text(text_models, config.model, vocabulary=size, outputs=outputs, **options)

    def student(self, config: TextConfig, module: nn.Module, prepared: Learnt) -> Student:
        pretrained = is_pretrained(config.model)
        return Student(
            module,
            LOSSES[prepared.targets.kind],
            taps=config.taps or (last_layers(module) if pretrained else self.taps(config)),
            time_axes=pretrained_time_axes if pretrained else text_time_axes,
            execution=execution(config),
        )

    def measure(self, prepared: PreparedRows) -> Any:
        return measure_classes if prepared.targets.kind == "classes" else super().measure(prepared)

    def conclude(
        self, config: TextConfig, prepared: PreparedRows, trained: Assembled, folder: RunFolder | None
    ) -> Outcome:
        outcome = super().conclude(config, prepared, trained, folder)
        macro = {"macro_f1": trained.row.get("test_macro_f1", math.nan)}
        return replace(outcome, figures={**outcome.figures, **macro})

    def _columns(self, config: TextConfig, parts: Parts) -> tuple[str, ...]:
        return text_columns(parts.train, config.text, (parts.label,))


def _encoder(prepared: Learnt) -> TextPieces | PretrainedText:
    assert isinstance(prepared.encoder, TextPieces | PretrainedText)
    return prepared.encoder


def _with_text(parts: Parts, columns: Sequence[str]) -> Parts:
    """Without the training rows whose text is empty.  Raises ValueError, with the place, for other such
    rows."""
    for part in ("meta", "valid", "test"):
        rows = getattr(parts, part)
        if rows is not None and (gone := _is_without(rows, columns)).any():
            place = rows.origins[int(np.flatnonzero(gone)[0])]
            raise ValueError(f"{place}: the text is empty: fill it in or take the row out")
    reason = f"no text in {' and '.join(map(repr, columns))}"
    return without_training(parts, _is_without(parts.train, columns), reason)


def _is_without(rows: Rows, columns: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    sides = [texts_of(rows, column) for column in columns]
    return np.array([all(map(is_empty, texts)) for texts in zip(*sides, strict=True)], dtype=bool)
