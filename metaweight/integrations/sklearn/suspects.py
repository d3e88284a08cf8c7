"""The rows that a fit trusts least, as a DataFrame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sighting:
    """Weight and loss of the rows of X that were weighed."""

    index: pd.Index[Any]
    """The labels of X's rows [n]."""
    rows: Array
    """[m] int64, positions in X of the rows that were weighed; trusted ones are left out."""
    weights: Array
    """[n]."""
    loss: Array
    """[n], NaN where a row was not weighed."""

    def table(self, **told: Array) -> pd.DataFrame:
        """row, index, ``told`` [n] by column, weight, loss: lowest weight first, then highest loss."""
        columns = {"row": np.arange(len(self.index)), "index": self.index, **told}
        columns |= {"weight": self.weights, "loss": self.loss}
        order = np.lexsort((self.rows, -self.loss[self.rows], self.weights[self.rows]))
        picked = self.rows[order]
        return pd.DataFrame({name: values[picked] for name, values in columns.items()})
