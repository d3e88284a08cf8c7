"""JSON Lines: an object a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from metaweight.core.plain_text import is_empty
from metaweight.core.registry import did_you_mean
from metaweight.data.tables.nested import Missing, value_at
from metaweight.data.tables.records import text_lines


class Objects(NamedTuple):
    """The objects of a file."""

    lines: list[int]
    """From 1."""
    values: list[dict[str, Any]]
    blank: int


def read_objects(text: str, where: str) -> Objects:
    """Lines without anything on them are no objects.

    Raises ValueError, with ``where`` and the line, for one that is no JSON, or no object.
    """
    lines, values, blank = [], [], 0
    for number, line in enumerate(text_lines(text), 1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            if is_empty(line):
                blank += 1
                continue
            raise ValueError(f"{where}, line {number}: invalid JSON: {error}") from error
        if not isinstance(value, dict):
            raise ValueError(f"{where}, line {number}: expected an object, got {line[:60]!r}")
        lines.append(number)
        values.append(value)
    return Objects(lines, values, blank)


def by_column(found: Objects, wanted: Sequence[str], where: str, *, strict: bool) -> list[list[Any]]:
    """The cells of each ``wanted`` key; not ``strict``: None where an object lacks it.

    Raises ValueError, with ``where`` and the line, for a missing key.
    """
    cells: list[list[Any]] = [[] for _ in wanted]
    for number, value in zip(found.lines, found.values, strict=True):
        for key, column in zip(wanted, cells, strict=True):
            try:
                column.append(value[key] if key in value else value_at(value, key))
            except Missing as error:
                if strict:
                    hint = did_you_mean(error.args[0], error.known)
                    raise ValueError(f"{where}, line {number}: no key {key!r}.{hint}") from None
                column.append(None)
    return cells
