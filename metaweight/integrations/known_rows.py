"""What a user knows the training rows by: columns of their own, and names of the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Cells = Mapping[str, Sequence[Any]]


def _no_columns(rows: list[int]) -> Cells:
    return {}


@dataclass(frozen=True)
class KnownRows:
    """n rows."""

    columns: Callable[[list[int]], Cells] = _no_columns
    """Positions of m rows -> column -> m cells; nothing is read before it is asked for."""
    classes: Sequence[str] = ()
    """Empty where classes are numbers."""
