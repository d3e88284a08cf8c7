"""The weight and loss of every sample in every epoch, as a Parquet file for people's own tools."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metaweight.core.atomic import whole_file
from metaweight.training.sample_weights import SampleWeights


def write_by_epoch(path: Path, samples: SampleWeights) -> None:
    """index, epoch (from 1), weight, loss: a row a sample and epoch that saw it, epoch by epoch.

    Probes are left out; a loss that is not known is null.  All of it is written or nothing.
    """
    import pyarrow  # heavy, and seldom needed
    import pyarrow.parquet

    own = samples.own
    index = own.index.numpy().astype(np.int64)
    kinds = {"index": "int64", "epoch": "int32", "weight": "float32", "loss": "float32"}
    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in kinds.items()])
    packing = {"use_dictionary": ["epoch"]}  # of the others each value is another
    with whole_file(path) as file, pyarrow.parquet.ParquetWriter(file, schema, **packing) as writer:
        for epoch, (weights, losses) in enumerate(zip(own.weights.numpy(), own.loss.numpy(), strict=True), 1):
            seen = ~np.isnan(weights)
            columns = {
                "index": index[seen],
                "epoch": np.full(seen.sum(), epoch, np.int32),
                "weight": weights[seen].astype(np.float32),
                "loss": pyarrow.array(losses[seen].astype(np.float32), from_pandas=True),
            }
            writer.write_table(pyarrow.table(columns, schema=schema))
