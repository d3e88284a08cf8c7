"""What rating gives: a weight for every new row, beside the user's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from metaweight.core.csv_text import csv_text, number_as_cell
from metaweight.data.origins import COLUMNS
from metaweight.tasks.rating.new import New, Said

if TYPE_CHECKING:
    import pandas as pd

OURS = (*COLUMNS, "given_label", "weight", "suggested_label", "share")
"""Columns that are ours; the user's own of such a name has ``own_`` before it."""


@dataclass(frozen=True, eq=False)
class Rated:
    """n new rows with their weights, in the order of their source."""

    new: New
    weights: Tensor
    """[n] float64, NaN of rows that lack a label or an input."""
    units: Sequence[list[float]] | None
    """Of each of the m sentences that were weighed the weights of its units: one, or one a token; None of
    other rows."""
    said: Said | None = None
    """Of the m rows."""
    tokens: Sequence[tuple[object, ...]] | None = None
    """A row a token, of sentences of labelled tokens, see ``New.by_token``."""

    def columns(self) -> dict[str, list[Any]]:
        """Column -> its n cells: file, row, name, the user's own columns, given_label, weight,
        suggested_label and share, as far as they are known; empty where a row has none."""
        origins = zip(*self.new.origins.cells(), strict=True)
        table = {name: list(cells) for name, cells in zip(COLUMNS, origins, strict=True)}
        for name, cells in self.new.columns.items():
            table[f"own_{name}" if name in OURS else name] = list(cells)
        if self.new.given is not None:
            table["given_label"] = list(self.new.given)
        table["weight"] = self.weights.tolist()
        if self.said is not None:
            table["suggested_label"] = self._spread(self.said.labels, "")
            if self.said.share is not None:
                table["share"] = self._spread(self.said.share, float("nan"))
        return table

    def frame(self) -> pd.DataFrame:
        """``columns`` as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.columns())

    def to_csv(self) -> str:
        """``columns`` as a file; numbers that are not known are empty."""
        table: Mapping[str, list[Any]] = self.columns()
        for name in ("weight", "share"):
            if name in table:
                table[name][:] = map(number_as_cell, table[name])
        return csv_text(list(table), zip(*table.values(), strict=True))

    @property
    def lines(self) -> str | None:
        """Of sentence pairs a weight a line, 0 where there is none, as Marian (``--data-weighting-type
        sentence``) and OpenNMT-tf (``example_weights``) take them; None of other rows."""
        if self.new.vocabulary is None:
            return None
        return "".join(f"{weight:.6g}\n" for weight in self.weights.nan_to_num(0).tolist())

    @property
    def all_equal(self) -> bool:
        """Whether the weights tell nothing apart."""
        known = self.weights[self.new.places]
        return len(known) < 2 or bool(torch.all(known == known[0]))

    def _spread(self, cells: Sequence[Any], empty: Any) -> list[Any]:
        """Cells of the m rows that were weighed, among all n."""
        whole = [empty] * len(self.new)
        for place, cell in zip(self.new.places.tolist(), cells, strict=True):
            whole[place] = cell
        return whole
