"""TableEncoder: what each column of the training rows holds, and rows as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from metaweight.data.tabular.columns import CategoryColumn, Column, DateColumn, NumberColumn
from metaweight.data.tabular.frames import as_frame
from metaweight.data.tabular.kinds import read_column


@dataclass(frozen=True, eq=False)
class EncodedTable:
    """N rows as a tabular model takes them."""

    numbers: Tensor
    """[N, d] float32."""
    categories: Tensor
    """[N, c] int64, the codes of each column."""

    def __len__(self) -> int:
        return len(self.numbers)


class TableEncoder:
    """Learns from training rows alone how the cells of a table become numbers and codes.

    ``fit`` decides what each column holds: numbers (text that reads as numbers too), yes or no, dates, or
    categories; ``notes`` says what it took each for, a line a column, and which ones it left out.  Rows that
    come later may have missing cells and categories that training did not show.

    Example: ``encoder = TableEncoder().fit(train); rows = encoder.transform(test); rows.numbers.shape``
    """

    columns: tuple[Column, ...]
    notes: tuple[str, ...]
    names: tuple[Any, ...]
    """Of all columns of the training rows, those left out too."""

    def fit(self, table: Any) -> TableEncoder:
        """Learn from training rows: a DataFrame, an array or a list of rows.

        Raises TypeError for a sparse matrix, ValueError for a table without rows or columns, for infinity,
        and where no column is left.
        """
        frame = as_frame(table)
        read = [read_column(name, frame[name]) for name in frame.columns]
        self.names, self.notes = tuple(frame.columns), tuple(note for _, note in read)
        self.columns = tuple(column for column, _ in read if column is not None)
        if not self.columns:
            raise ValueError(f"no column is left to learn from: {'; '.join(self.notes)}")
        return self

    @property
    def width(self) -> int:
        """d, numbers of a row."""
        return sum(column.width for column in self._numbers)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Codes of each of the c columns of categories."""
        return tuple(column.cardinality for column in self._categories)

    def transform(self, table: Any) -> EncodedTable:
        """Rows as tensors; columns of a DataFrame are found by name, in any order.

        Raises ValueError, with names, for columns that are missing or that ``fit`` has not seen, for text
        where numbers or dates were, and for infinity.
        """
        frame = as_frame(table)
        self._check_names(frame)
        numbers = np.empty((len(frame), self.width), dtype=np.float32)
        first = 0
        for column in self._numbers:
            numbers[:, first : first + column.width] = column.encode(frame[column.name])
            first += column.width
        codes = np.empty((len(frame), len(self.cardinalities)), dtype=np.int64)
        for place, category in enumerate(self._categories):
            codes[:, place] = category.encode(frame[category.name])
        return EncodedTable(torch.from_numpy(numbers), torch.from_numpy(codes))

    def one_hot(self, rows: EncodedTable) -> Tensor:
        """[N, d + Σ cardinalities] float32: the numbers, then a column of 0 and 1 for each code."""
        blocks = [
            torch.nn.functional.one_hot(codes, size).to(rows.numbers.dtype)
            for codes, size in zip(rows.categories.unbind(dim=1), self.cardinalities, strict=True)
        ]
        return torch.cat([rows.numbers, *blocks], dim=1)

    @property
    def _numbers(self) -> list[NumberColumn | DateColumn]:
        return [column for column in self.columns if not isinstance(column, CategoryColumn)]

    @property
    def _categories(self) -> list[CategoryColumn]:
        return [column for column in self.columns if isinstance(column, CategoryColumn)]

    def _check_names(self, frame: pd.DataFrame) -> None:
        there, known = list(frame.columns), set(self.names)
        missing = [name for name in self.names if name not in set(there)]
        strange = [name for name in there if name not in known]
        if missing or strange:
            said = [f"lacks {missing}"] if missing else []
            said += [f"has {strange}, which training did not show"] if strange else []
            raise ValueError(f"the table {' and '.join(said)}: its columns are {list(self.names)}")
