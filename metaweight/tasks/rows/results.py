"""What a finished run of rows leaves in its folder: the weight of every row beside the user's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from metaweight.core.atomic import whole_file
from metaweight.core.csv_columns import write_by_column
from metaweight.data.origins import COLUMNS
from metaweight.tasks.assembly import Assembled
from metaweight.tasks.config.rows import RowsConfig
from metaweight.tasks.rows.data import PreparedRows, loader
from metaweight.tasks.rows.measures import two_logits
from metaweight.training.evaluation import outputs_of
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights, origin_columns

ROWS = "rows.csv"
OURS = (*COLUMNS, "index", "mean_weight")
"""Columns that are ours; the user's own of such a name has ``own_`` before it."""


def save(config: RowsConfig, prepared: PreparedRows, trained: Assembled, folder: RunFolder) -> SampleWeights:
    """Write ``weights.npz``, ``weights.csv`` and ``rows.csv``."""
    index, spoilt, probes = prepared.splits.train, prepared.spoilt, prepared.probes
    flipped = None if spoilt is None else spoilt.flipped
    if flipped is not None and probes is not None:
        flipped = torch.cat([flipped, probes.wrong])
    samples = folder.save_weights(
        index=index,
        weights=trained.weights.weights[:, index],
        loss=trained.weights.loss[:, index],
        flipped=flipped,
        probe=None if probes is None else probes.marks(index),
        warmup=trained.weights.warmup,
        origins=prepared.origins.select(index),
        classes=prepared.targets.classes,
        **_said(config, prepared, trained),
    )
    write_rows(prepared, samples, folder)
    return samples


def _said(config: RowsConfig, prepared: PreparedRows, trained: Assembled) -> Mapping[str, Tensor | None]:
    """``labels_of`` the training rows, where each has one label."""
    if prepared.targets.kind in ("several", "tokens"):
        return {}
    # in the order of the split, as nothing is shuffled
    in_order = loader(config, prepared, "train", training=False)
    outputs, _, _ = outputs_of(trained.trainer.reweighter.student, in_order)
    return labels_of(prepared, prepared.splits.train, outputs.float().cpu())


def labels_of(prepared: PreparedRows, index: Tensor, outputs: Tensor) -> dict[str, Tensor | None]:
    """Given and right targets [n], and what the student says of the rows ``index`` [n] in ``outputs``."""
    targets, known = prepared.targets, prepared.spoilt is not None
    given, right = prepared.given[index], prepared.right[index]
    if targets.kind == "number":
        return {
            "given": targets.numbers(given),
            "clean": targets.numbers(right) if known else None,
            "said": targets.numbers(outputs.flatten()),
        }
    logits = two_logits(outputs) if targets.kind == "one-logit" else outputs
    return {
        "given": given.long(),
        "clean": right.long() if known else None,
        "probabilities": logits.softmax(dim=-1),
    }


def write_rows(prepared: PreparedRows, samples: SampleWeights, folder: RunFolder) -> None:
    """``rows.csv`` with the user's own columns, the label last of them."""
    own = samples.own
    frame, label = prepared.frame.iloc[own.index.numpy()], prepared.parts.label
    columns = [frame[name].astype(object).where(frame[name].notna(), "").tolist() for name in frame.columns]
    labels = prepared.targets.shown(prepared.given[own.index])
    write_columns(list(map(str, (*frame.columns, label))), [*columns, list(labels)], own, folder)


def write_columns(
    names: Sequence[str], columns: Sequence[Sequence[Any]], samples: SampleWeights, folder: RunFolder
) -> None:
    """``rows.csv``: file, row, name, index, the user's own ``columns`` [n] under ``names``, mean_weight."""
    table = {**origin_columns(samples), "index": samples.index.numpy()}
    for name, column in zip(names, columns, strict=True):
        shown = f"own_{name}" if name in OURS else name
        while shown in table or (shown != name and shown in names):
            shown = f"own_{shown}"
        table[shown] = column
    with whole_file(folder.path / ROWS) as file:
        write_by_column(file, {**table, "mean_weight": samples.mean_weight().numpy()})
