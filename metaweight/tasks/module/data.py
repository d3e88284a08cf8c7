"""Data sets of the user's own as the rows of a run: their targets, their places, their items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from metaweight.data.rows import Rows, Targets, of_frame
from metaweight.data.rows.collated import CollatedRows
from metaweight.data.rows.parts import Parts
from metaweight.student.losses import UnitLoss
from metaweight.tasks.config.module import GIVEN

PLACE, TARGET = "position", "target"
"""Columns of a run whose rows are objects: the place in the data set, and the target."""
READ = 1024
"""Items that are read at once for their targets."""


@dataclass(frozen=True, eq=False)
class ModuleData:
    """A module, and the data sets that it is trained, taught and measured on, with positions and pairs.

    ``parts``: "train", "meta" and, perhaps, "valid" and "test" -> a map-style data set of (input, target), or
    of mappings with a target.
    """

    module: nn.Module
    parts: dict[str, Any]
    loss: UnitLoss | None = None
    """None: by the targets, see ``ModuleTask``."""
    collate_fn: Callable[[list[Any]], Any] = default_collate
    unread: dict[str, Any] | None = None
    """A copy of ``parts`` for worker processes, see ``Items``."""

    def rows(self, part: str) -> Rows:
        """The rows of a part: their places in all data sets end to end, and their targets."""
        import pandas as pd

        ends = dict(zip(self.parts, accumulate(map(len, self.parts.values())), strict=True))
        size = len(self.parts[part])
        if size == 0:
            raise ValueError(f"the {part} data set has no row")
        places = np.arange(ends[part] - size, ends[part])
        targets = self.targets(places)
        cells = list(targets.numpy()) if targets.dim() > 1 else targets.numpy()
        return of_frame(pd.DataFrame({PLACE: places, TARGET: cells}), f"{part} rows")

    def targets(self, places: Any) -> Tensor:
        """[n, ...], of the items at ``places``."""
        blocks = np.array_split(places, -(-len(places) // READ))
        return torch.cat([self.items.batch(block.tolist()).targets for block in blocks])

    @property
    def items(self) -> CollatedRows:
        """All items end to end."""
        unread = None if self.unread is None else self.unread.values()
        return CollatedRows.of(self.parts.values(), self.collate_fn, unread)


class Places:
    """The encoder of rows that are objects: they are called by their place."""

    notes: tuple[str, ...] = ()

    def __init__(self, data: ModuleData) -> None:
        self.data = data

    def with_parts(self, parts: dict[str, Any]) -> ModuleData:
        """Other data sets for the same module."""
        return replace(self.data, parts=parts)

    def encode(self, rows: Rows) -> CollatedRows:
        """The items themselves."""
        items = self.data.items
        return replace(items, positions=torch.tensor(rows.frame[PLACE].to_numpy()))


def stacked(cells: Sequence[Any]) -> Tensor:
    """The targets of rows [n, ...], which a frame holds cell by cell."""
    return torch.as_tensor(np.stack(cells))


class RawTargets(Targets):
    """Targets that are tensors already: they are learnt as they are."""

    def encode(self, cells: Sequence[Any], origins: Any, part: str) -> Tensor:
        values = stacked(cells)
        if self.kind != "classes":
            return values.float() if values.dtype == torch.float64 else values
        high, low = int(values.max()), int(values.min())
        if low < 0 or high >= len(self.classes):
            wrong = int(((values < 0) | (values >= len(self.classes))).nonzero()[0])
            raise ValueError(
                f"{origins[wrong]}: this {part} row has the class {int(values[wrong])}; the module gives "
                f"{len(self.classes)} outputs, for 0 to {len(self.classes) - 1}"
            )
        return values.long()


def parts_of_module(data: ModuleData) -> Parts:
    """The rows of every part; what is known of their truth is nothing."""
    rows = {part: data.rows(part) for part in data.parts}
    meta, valid, test = (rows.get(part) for part in ("meta", "valid", "test"))
    return Parts(GIVEN, rows["train"], TARGET, meta, valid, test)
