"""The rows that a fit trusts least, as a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from torch import Tensor

from metaweight.report.suspects import Suspects
from metaweight.training.sample_weights import SampleWeights


@dataclass(frozen=True)
class Sighting:
    """What was seen of the rows that were weighed, n of them: the rows of X, then the probes."""

    labels: pd.Index[Any]
    """Of X's rows."""
    samples: SampleWeights
    """Its ``index``: position in X; of probes that are none of X, from its length on."""
    targets: Tensor
    """[n], as they were trained on."""
    outputs: Tensor
    """[n, C] float64, what the net says of each."""

    def table(self, names: Sequence[Any] = (), **told: Any) -> pd.DataFrame:
        """row, index and the columns of ``Suspects``; ``told`` [n]: what more is known of the samples."""
        found = Suspects(replace(self.samples, **told))
        rows = found.samples.index.numpy()
        return pd.DataFrame(found.columns({"row": rows.tolist(), "index": list(self.labels[rows])}, names))
