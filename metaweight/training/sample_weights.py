"""The weight of every training sample, epoch by epoch, and what is known of the samples."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaweight.core.csv_text import csv_text
from metaweight.data.origins import COLUMNS, Origins
from metaweight.training.fates import Fates, fates


@dataclass(frozen=True)
class SampleWeights:
    """Every training sample's weight and loss of every epoch; n samples."""

    index: Tensor
    """[n], int64, position in the data set."""
    weights: Tensor
    """[epochs, n] float32, NaN where a sample was not seen."""
    loss: Tensor
    """[epochs, n] float32, NaN where a sample was not seen."""
    given: Tensor | None = None
    """[n], the label that the student was trained on, where a sample has one."""
    clean: Tensor | None = None
    """[n], the right label, where known."""
    flipped: Tensor | None = None
    """[n] bool, where known."""
    probabilities: Tensor | None = None
    """[n, C] float32, what the student of the last epoch says of each class, where a unit has one."""
    origins: Origins | None = None
    """Where each of the n samples came from, where that is known."""

    def __post_init__(self) -> None:
        samples, epochs = self.index.numel(), self.weights.shape[0] if self.weights.dim() else 0
        if self.origins is not None and len(self.origins) != samples:
            raise ValueError(f"origins of {samples} samples are as many, got {len(self.origins)}")
        for field in fields(self):
            if field.name == "origins":
                continue
            value: Tensor | None = getattr(self, field.name)
            wanted = (epochs, samples) if field.name in ("weights", "loss") else (samples,)
            if field.name == "probabilities" and value is not None:
                wanted = (samples, value.shape[-1] if value.dim() == 2 else 0)
            if value is not None and value.shape != wanted:
                got = tuple(value.shape)
                raise ValueError(f"{field.name} of {samples} samples has shape {wanted}, got {got}")

    def mean_weight(self) -> Tensor:
        """[n], the mean over the epochs that saw the sample; NaN where none did."""
        return self.weights.nanmean(dim=0)

    def predicted(self) -> Tensor | None:
        """[n] int64, the student's most probable class; None where probabilities were not kept."""
        return None if self.probabilities is None else self.probabilities.argmax(dim=1)

    def fates(self) -> Fates | None:
        """What became of the wrong labels; None where it is not known, none is wrong or the student broke."""
        says, given, clean = self.probabilities, self.given, self.clean
        if says is None or given is None or clean is None or not bool(says.isfinite().all()):
            return None
        return fates(says.argmax(dim=1), given, clean, self.mean_weight())


def weights_csv(samples: SampleWeights) -> str:
    """file, row, name, index, given_label, mean_weight, flipped: a row a sample.

    The first three (see Origin) are its owner's, ``index`` is the position that code uses; a cell is empty
    where a sample was never seen or something is not known.
    """
    unknown = [""] * len(samples.index)
    given, flipped = (
        unknown if value is None else value.int().tolist() for value in (samples.given, samples.flipped)
    )
    means = ["" if math.isnan(mean) else f"{mean:.6g}" for mean in samples.mean_weight().tolist()]
    rows = zip(samples.index.tolist(), given, means, flipped, strict=True)
    header = (*COLUMNS, "index", "given_label", "mean_weight", "flipped")
    return csv_text(header, ((*cells, *row) for cells, row in zip(origin_cells(samples), rows, strict=True)))


def origin_cells(samples: SampleWeights) -> list[tuple[str, str, str]]:
    """What ``COLUMNS`` hold of each sample; empty where it is not known."""
    if samples.origins is None:
        return [("", "", "")] * len(samples.index)
    return [origin.cells for origin in samples.origins]


def to_arrays(samples: SampleWeights) -> dict[str, np.ndarray[Any, Any]]:
    """What weights.npz holds: the tensors under their names, origins as ``origin_*``."""
    arrays = {
        field.name: value.detach().cpu().numpy()
        for field in fields(samples)
        if isinstance(value := getattr(samples, field.name), Tensor)
    }
    origins = samples.origins
    if origins is not None:
        # text as UTF-8: numpy's strings drop a NUL at their end
        about = {"files": origins.files, "names": origins.names, "unit": origins.unit}
        text = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
        arrays |= {
            "origin_file": origins.file.numpy(),
            "origin_row": origins.row.numpy(),
            "origin_text": text,
        }
    return arrays


def from_arrays(arrays: Mapping[str, np.ndarray[Any, Any]]) -> SampleWeights:
    """What ``to_arrays`` gave.  Raises ValueError or TypeError for other names and shapes."""
    tensors = {
        name: torch.from_numpy(value) for name, value in arrays.items() if not name.startswith("origin_")
    }
    origins = None
    if "origin_text" in arrays:
        about = json.loads(arrays["origin_text"].tobytes())
        names = None if about["names"] is None else tuple(about["names"])
        file, row = (torch.from_numpy(arrays[f"origin_{part}"]) for part in ("file", "row"))
        origins = Origins(tuple(about["files"]), file, row, names, about["unit"])
    return SampleWeights(**tensors, origins=origins)
