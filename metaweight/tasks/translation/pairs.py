"""pairs.csv: the weight of every training pair beside its sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from metaweight.core.atomic import whole_file
from metaweight.core.csv_columns import write_by_column
from metaweight.data.origins import Origins
from metaweight.data.text.noise import NoisyBitext
from metaweight.training.sample_weights import named

PAIRS = "pairs.csv"


def write_pairs(path: Path, noisy: NoisyBitext, origins: Origins, mean_weight: Tensor, own: int) -> None:
    """Write the first ``own`` pairs, behind which probes stand, with their ``mean_weight`` [own or more].

    The first three columns say where its owner finds a pair; ``index`` is the position that code uses.
    """
    columns = {
        **origins.columns(),
        "index": np.arange(own),
        "mean_weight": mean_weight.numpy(),
        "kind": named(noisy.kind, ("", *noisy.kinds)),
        "source": noisy.bitext.source,
        "target": noisy.bitext.target,
    }
    with whole_file(path) as file:
        write_by_column(file, {name: column[:own] for name, column in columns.items()})
