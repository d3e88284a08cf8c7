"""A table with wrong labels, or wrong numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from metaweight.data.rows import Rows
from metaweight.data.rows.loader import Inputs, TensorRows
from metaweight.data.rows.parts import Parts
from metaweight.data.tabular import EncodedTable, TableEncoder
from metaweight.data.tabular.kept import encoder_of, encoder_record
from metaweight.models.tabular import build_tabular, checked_tabular_options, default_tabular_taps
from metaweight.tasks.config.tabular import TabularConfig
from metaweight.tasks.rows import Encoder, RowsTask
from metaweight.tasks.rows.data import Learnt
from metaweight.tasks.tabular.sets import tables

SHOWN = 3
"""Columns that are named together."""


class TableColumns:
    """The columns of a table as the training rows show them, and rows as numbers and codes."""

    def __init__(self, table: TableEncoder) -> None:
        self.table = table

    @classmethod
    def learn(cls, rows: Rows) -> TableColumns:
        """Of the training rows.  Raises ValueError, with the file, for what does not do."""
        try:
            return cls(TableEncoder().fit(rows.frame))
        except ValueError as error:
            raise ValueError(f"{rows.file}: {error}") from error

    @property
    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        return encoder_record(self.table)

    @property
    def notes(self) -> tuple[str, ...]:
        """What columns were taken for: those that are taken for the same together."""
        kinds: dict[str, list[str]] = {}
        for note in self.table.notes:
            name, _, said = note.partition(": ")
            kinds.setdefault(said, []).append(name.removeprefix("column "))
        return tuple(f"{_listed(names)}: {said}" for said, names in kinds.items())

    def encode(self, rows: Rows) -> TensorRows:
        """Numbers [n, d] and codes [n, c].  Raises ValueError, with the file, for what does not do."""
        try:
            encoded = self.table.transform(rows.frame)
        except ValueError as error:
            raise ValueError(f"{rows.file}: {error}") from error
        return TensorRows((encoded.numbers, encoded.categories))


def _listed(names: list[str]) -> str:
    """``column 'a'``, ``columns 'a', 'b'``, or ``12 columns ('a', 'b', ...)``."""
    if len(names) <= SHOWN:
        return f"column{'s' * (len(names) > 1)} {', '.join(names)}"
    return f"{len(names)} columns ({', '.join(names[:SHOWN])}, ...)"


class TabularTask(RowsTask[TabularConfig]):
    __doc__ = RowsTask.__doc__

    config = TabularConfig
    sets = tables

    def check_parts(self, config: TabularConfig) -> None:
        checked_tabular_options(config.model, config.model_options)

    def ignored(self, config: TabularConfig, parts: Parts) -> Sequence[str]:
        return config.ignore

    def encoder(self, config: TabularConfig, rows: Rows) -> TableColumns:
        return TableColumns.learn(rows)

    def points(self, encoder: Encoder, inputs: Inputs) -> Tensor:
        """Numbers, and a column of 0 and 1 for each category."""
        assert isinstance(encoder, TableColumns)
        assert isinstance(inputs, TensorRows)
        return encoder.table.one_hot(EncodedTable(*inputs.tensors))

    def taps(self, config: TabularConfig) -> Sequence[str]:
        return default_tabular_taps(config.model)

    def kept_encoder(self, config: TabularConfig, record: Mapping[str, Any], folder: Path) -> TableColumns:
        return TableColumns(encoder_of(record))

    def module(self, config: TabularConfig, prepared: Learnt) -> nn.Module:
        assert isinstance(prepared.encoder, TableColumns)
        table = prepared.encoder.table
        return build_tabular(
            config.model,
            numbers=table.width,
            cardinalities=table.cardinalities,
            outputs=prepared.targets.outputs,
            **config.model_options,
        )
