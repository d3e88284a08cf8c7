"""The weight of every training sample, epoch by epoch, and what is known of the samples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from metaweight.core.csv_columns import write_by_column
from metaweight.core.weights import mean_after
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
    """[n], the label, or the number, that the student was trained on, where a sample has one."""
    clean: Tensor | None = None
    """[n], the right label, where known."""
    flipped: Tensor | None = None
    """[n] bool, where known."""
    probabilities: Tensor | None = None
    """[n, C] float32, what the student of the last epoch says of each class, where a unit has one."""
    said: Tensor | None = None
    """[n], the number that the student of the last epoch says, in the unit of ``given``, where it does."""
    probe: Tensor | None = None
    """[n] int8: 0 a row of the user's, 1 a probe with its right label, 2 one with a wrong label; None: no
    probes were planted."""
    warmup: int = 0
    """The first epochs, in which the teacher had no say: they count in no mean."""
    origins: Origins | None = None
    """Where each of the n samples came from, where that is known."""

    def __post_init__(self) -> None:
        samples, epochs = self.index.numel(), self.weights.shape[0] if self.weights.dim() else 0
        if self.origins is not None and len(self.origins) != samples:
            raise ValueError(f"origins of {samples} samples are as many, got {len(self.origins)}")
        for name, value in _tensors(self).items():
            wanted = (epochs, samples) if name in ("weights", "loss") else (samples,)
            if name == "probabilities":
                wanted = (samples, value.shape[-1] if value.dim() == 2 else 0)
            if value.shape != wanted:
                got = tuple(value.shape)
                raise ValueError(f"{name} of {samples} samples has shape {wanted}, got {got}")

    @property
    def own(self) -> SampleWeights:
        """Without the probes, which are none of the user's rows; what people see is made of this."""
        if self.probe is None:
            return self
        return self.select((self.probe == 0).nonzero().flatten())

    def select(self, places: Tensor) -> SampleWeights:
        """Those at ``places`` [m] int64, in that order; without a copy where they follow each other."""
        first = int(places[0]) if len(places) else 0
        end = first + len(places)
        rows = slice(first, end) if torch.equal(places, torch.arange(first, end)) else places
        picked = {
            name: value[:, rows] if name in ("weights", "loss") else value[rows]
            for name, value in _tensors(self).items()
        }
        origins = None if self.origins is None else self.origins.select(places)
        return SampleWeights(**picked, warmup=self.warmup, origins=origins)

    def mean_weight(self) -> Tensor:
        """[n], the mean over the epochs after the warm-up that saw the sample; NaN where none did."""
        return mean_after(self.weights, self.warmup)

    def mean_loss(self) -> Tensor:
        """[n], as ``mean_weight``."""
        return mean_after(self.loss, self.warmup)

    @property
    def averaged(self) -> SampleWeights:
        """With the means in place of what they are of: one epoch, and no warm-up before it."""
        return replace(self, weights=self.mean_weight()[None], loss=self.mean_loss()[None], warmup=0)

    def predicted(self) -> Tensor | None:
        """[n], the student's most probable class, or its number; None where neither was kept."""
        return self.said if self.probabilities is None else self.probabilities.argmax(dim=1)

    def fates(self) -> Fates | None:
        """What became of the wrong labels; None where it is not known, none is wrong or the student broke."""
        own = self.own
        says, given, clean = own.probabilities, own.given, own.clean
        if says is None or given is None or clean is None or not bool(says.isfinite().all()):
            return None
        return fates(says.argmax(dim=1), given, clean, own.mean_weight())


def _tensors(samples: SampleWeights) -> dict[str, Tensor]:
    """Those that are there, by name."""
    values = {field.name: getattr(samples, field.name) for field in fields(samples)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def write_weights(file: IO[bytes], samples: SampleWeights, classes: Sequence[str] = ()) -> None:
    """weights.csv: file, row, name, index, given_label, mean_weight, flipped: a row a sample without probes.

    The first three (see Origin) are its owner's, ``index`` is the position that code uses; a cell is empty
    where a sample was never seen or something is not known.  ``classes``: what labels are called.
    """
    own = samples.own
    unknown = np.full(len(own.index), "", dtype=object)
    about = {
        "index": own.index.numpy(),
        "given_label": unknown if own.given is None else _targets(own.given, classes),
        "mean_weight": own.mean_weight().numpy(),
        "flipped": unknown if own.flipped is None else own.flipped.int().numpy(),
    }
    write_by_column(file, {**origin_columns(own), **about})


def _targets(targets: Tensor, classes: Sequence[str]) -> Any:
    """Classes by name or number, or numbers in as many digits as they have; empty for NaN."""
    if targets.is_floating_point():
        return ["" if np.isnan(number) else str(number) for number in targets.numpy()]
    return named(targets, classes) if classes else targets.numpy()


def named(codes: Tensor, names: Sequence[Any]) -> np.ndarray[Any, Any]:
    """The one of ``names`` that each of ``codes`` [n] stands for."""
    found: np.ndarray[Any, Any] = np.fromiter(names, dtype=object, count=len(names))[codes.numpy()]
    return found


def origin_columns(samples: SampleWeights) -> dict[str, Any]:
    """``COLUMNS`` -> arrays [n] of their cells, empty where they are not known."""
    if samples.origins is None:
        return dict.fromkeys(COLUMNS, np.full(len(samples.index), "", dtype=object))
    return samples.origins.columns()


def to_arrays(samples: SampleWeights) -> dict[str, np.ndarray[Any, Any]]:
    """What weights.npz holds: the tensors and ``warmup`` under their names, origins as ``origin_*``."""
    arrays = {name: value.detach().cpu().numpy() for name, value in _tensors(samples).items()}
    arrays["warmup"] = np.asarray(samples.warmup)
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
    """What ``to_arrays`` gave; ``warmup`` is 0 where an older version wrote them without.

    Raises ValueError or TypeError for other names and shapes.
    """
    tensors = {
        name: torch.from_numpy(value)
        for name, value in arrays.items()
        if name != "warmup" and not name.startswith("origin_")
    }
    origins = None
    if "origin_text" in arrays:
        about = json.loads(arrays["origin_text"].tobytes())
        names = None if about["names"] is None else tuple(about["names"])
        file, row = (torch.from_numpy(arrays[f"origin_{part}"]) for part in ("file", "row"))
        origins = Origins(tuple(about["files"]), file, row, names, about["unit"])
    return SampleWeights(**tensors, warmup=int(arrays.get("warmup", 0)), origins=origins)
