"""The options of a run on a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metaweight.tasks.config.rows import RowsConfig


@dataclass(frozen=True, kw_only=True)
class TabularConfig(RowsConfig):
    """Everything that decides a run on a table."""

    task: ClassVar[str] = "tabular"

    data: str = "breast-cancer"
    """breast-cancer, wine or diabetes (regression), which scikit-learn has, or a set that --import brings."""
    ignore: tuple[str, ...] = ()
    """Columns that are not learnt from: keys, names, what is not known when a prediction is wanted."""
    model: str = "tabular-mlp"
    """tabular-mlp or tabular-resnet."""
