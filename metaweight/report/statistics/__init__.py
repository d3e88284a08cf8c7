"""The statistics of a comparison: numbers (differences) and what they say (answer), under one name."""

from metaweight.report.statistics.answer import answer
from metaweight.report.statistics.differences import (
    Paired,
    WinTieLoss,
    paired,
    rank_cells,
    ranks,
    win_tie_loss,
)

__all__ = ["Paired", "WinTieLoss", "answer", "paired", "rank_cells", "ranks", "win_tie_loss"]
