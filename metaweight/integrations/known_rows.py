"""What a user knows the training rows by: columns of their own, and names of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class KnownRows:
    """n rows."""

    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Name -> n cells."""
    classes: Sequence[str] = ()
    """Empty where classes are numbers."""

    def select(self, rows: Sequence[int]) -> dict[str, list[Any]]:
        """The cells of some rows."""
        return {name: [cells[row] for row in rows] for name, cells in self.columns.items()}
