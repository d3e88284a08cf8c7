"""What a TableEncoder has learnt of the training rows' columns, as JSON holds it, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from metaweight.data.tabular.columns import CategoryColumn, Column, DateColumn, NumberColumn
from metaweight.data.tabular.encoder import TableEncoder


def encoder_record(encoder: TableEncoder) -> dict[str, Any]:
    """The names of all columns, and what each that is learnt from shows; of names that are text."""
    return {"names": list(encoder.names), "columns": [_record(column) for column in encoder.columns]}


def encoder_of(record: Mapping[str, Any]) -> TableEncoder:
    """What ``encoder_record`` gave; its notes are gone."""
    encoder = TableEncoder()
    encoder.names, encoder.notes = tuple(record["names"]), ()
    encoder.columns = tuple(_column(column) for column in record["columns"])
    return encoder


def _record(column: Column) -> dict[str, Any]:
    if isinstance(column, NumberColumn):
        return {"kind": "number", **vars(column)}
    if isinstance(column, CategoryColumn):
        return {"kind": "category", **vars(column)}
    parts = [[part, _record(own)] for part, own in column.parts]
    return {"kind": "date", "name": column.name, "first": column.first.isoformat(), "parts": parts}


def _column(record: Mapping[str, Any]) -> Column:
    own = {name: value for name, value in record.items() if name != "kind"}
    if record["kind"] == "number":
        return NumberColumn(**own)
    if record["kind"] == "category":
        return CategoryColumn(**own)
    parts = tuple((part, _number(column)) for part, column in record["parts"])
    return DateColumn(record["name"], pd.Timestamp(record["first"]), parts)


def _number(record: Mapping[str, Any]) -> NumberColumn:
    column = _column(record)
    assert isinstance(column, NumberColumn)
    return column
