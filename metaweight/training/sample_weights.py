"""The weight of every training sample, epoch by epoch, and what is known of the samples."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, fields

from torch import Tensor

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

    def __post_init__(self) -> None:
        samples, epochs = self.index.numel(), self.weights.shape[0] if self.weights.dim() else 0
        for field in fields(self):
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
    """index, given_label, mean_weight, flipped; empty where a sample was never seen or it is not known."""
    unknown = [""] * len(samples.index)
    given, flipped = (
        unknown if value is None else value.int().tolist() for value in (samples.given, samples.flipped)
    )
    means = ["" if math.isnan(mean) else f"{mean:.6g}" for mean in samples.mean_weight().tolist()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "given_label", "mean_weight", "flipped"])
    writer.writerows(zip(samples.index.tolist(), given, means, flipped, strict=True))
    return text.getvalue()
