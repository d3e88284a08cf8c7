"""The options of a run on a module of the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metaweight.tasks.config.rows import RowsConfig

GIVEN = "given in Python"
"""What data that are objects are called in a manifest."""


@dataclass(frozen=True, kw_only=True)
class ModuleConfig(RowsConfig):
    """What a run on a module of the user's own is told beside the module and its data, which are objects."""

    task: ClassVar[str] = "module"

    data: str = GIVEN
    """What the data are called."""
    model: str = "module"
    """What the module is called."""
    optimizer: str = "adamw"
    lr: float = 1e-3
    workers: int = 0
    """Processes that read training rows ahead, as many that read trusted rows, and as many in an evaluation;
    default: as many as the DataLoader of the training rows has.  They read from a copy of the data sets."""
