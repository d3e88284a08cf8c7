"""ImageSet: the images and labels of one data set, checked when it is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from metaweight.data.origins import LeftOut, Origins
from metaweight.student.losses import check_labels

PARTS = ("meta", "valid")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels, in whole tensors; a position in ``train_images`` is a sample's index.

    Raises TypeError for images that are no uint8 or labels that are no int64, ValueError where shapes or
    lengths do not fit, a label lies outside the classes, or trusted positions are no such positions.
    """

    name: str
    """As printed in tables."""
    train_images: Tensor
    """[N, C, H, W] uint8."""
    train_labels: Tensor
    """[N] int64."""
    test_images: Tensor
    """[M, C, H, W] uint8; M is 0 where there is no test set."""
    test_labels: Tensor
    """[M] int64."""
    classes: tuple[str, ...]
    human: Mapping[str, Tensor] = field(default_factory=dict)
    """Name -> labels [N] int64 that people gave to the training images, errors included."""
    class_map: Mapping[int, int] = field(default_factory=dict)
    """Class -> the class it is taken for, the data set's standard for ``asymmetric`` noise; may be empty."""
    source: str = ""
    """Where it comes from: a citation or an address."""
    clean: bool = True
    """Whether its own labels count as right, so that all that are wrong were put in."""
    trusted: Mapping[str, Tensor] = field(default_factory=dict)
    """``meta``, ``valid`` -> positions [n] int64 in ``train_images`` whose labels somebody has checked, to be
    that part of a run; a meta set that is not named is drawn out of the rest."""
    train_origins: Origins | None = None
    """Where each training image came from; None: row by row from the split ``train``."""
    test_origins: Origins | None = None
    """Where each test image came from; None: row by row from the split ``test``."""
    left_out: LeftOut = field(default_factory=LeftOut.none)
    """What the data set holds and this does not, with the reasons."""
    notes: str = ""
    """What was done to the images on the way."""
    label: str = ""
    """What the user calls the labels, of pictures out of a table; else empty."""
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """The table's other columns, which are for people: name -> N cells."""

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            if images.dtype != torch.uint8:
                raise TypeError(f"{self.name}: {split} images are uint8, got {images.dtype}")
            if images.dim() != 4 or (len(images) == 0 and split == "train"):
                shape = tuple(images.shape)
                raise ValueError(
                    f"{self.name}: {split} images have shape [N, C, H, W], with N > 0 to train, got {shape}"
                )
            self._check(labels, len(images), f"{split} labels")
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            shapes = tuple(self.train_images.shape[1:]), tuple(self.test_images.shape[1:])
            raise ValueError(
                f"{self.name}: train images are {shapes[0]}, test images {shapes[1]}; resize one"
            )
        for name, labels in self.human.items():
            self._check(labels, len(self.train_images), f"human labels {name!r}")
        for name, positions in self.trusted.items():
            self._check_trusted(name, positions)
        for name, cells in self.columns.items():
            if len(cells) != len(self.train_images):
                raise ValueError(f"{self.name}: column {name!r} has {len(cells)} cells; give each image one")
        for split in ("train", "test"):
            given, images = len(self.origins(split)), len(getattr(self, f"{split}_images"))
            if given != images:
                raise ValueError(f"{self.name}: {given} origins for {images} {split} images; give each one")

    def _check(self, labels: Tensor, size: int, what: str) -> None:
        if labels.dtype != torch.int64:
            raise TypeError(f"{self.name}: {what} are int64, got {labels.dtype}")
        if labels.shape != (size,):
            raise ValueError(f"{self.name}: {what} have shape {tuple(labels.shape)}, the images ({size},)")
        try:
            check_labels(labels, len(self.classes))
        except ValueError as error:
            raise ValueError(f"{self.name}, {what}: {error}") from error

    def _check_trusted(self, name: str, positions: Tensor) -> None:
        if name not in PARTS:
            raise ValueError(f"{self.name}: trusted rows are those of meta and of valid, got {name!r}")
        if positions.dtype != torch.int64 or positions.dim() != 1 or not len(positions):
            got = f"{positions.dtype} of shape {tuple(positions.shape)}"
            raise ValueError(f"{self.name}: trusted rows are positions [n] int64 with n > 0, got {got}")
        low, high = int(positions.min()), int(positions.max())
        if low < 0 or high >= len(self.train_images):
            last = len(self.train_images) - 1
            raise ValueError(f"{self.name}: trusted rows lie in 0..{last}, got {low} to {high}")

    def origins(self, split: str) -> Origins:
        """Where each image of ``train`` or ``test`` came from."""
        given: Origins | None = getattr(self, f"{split}_origins")
        rows = range(1, len(getattr(self, f"{split}_images")) + 1)
        return Origins.of(f"{self.name}, split {split}", rows) if given is None else given

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel of the training images, on the scale 0 to 1."""
        return self._statistics[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation (of the population) of each channel of the training images, same scale."""
        return self._statistics[1]

    @cached_property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return pixel_statistics(self.train_images)


def pixel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population standard deviation of each channel: [N, C, H, W] uint8 -> two [C] on 0 to 1.

    From histograms: exact up to the last rounding, and no float copy of the images is made.
    """
    level = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in images.unbind(1):
        share = torch.bincount(channel.flatten(), minlength=256).to(level)
        share /= share.sum()
        mean = share @ level
        means.append(float(mean))
        deviations.append(float((share @ (level - mean).square()).sqrt()))
    return tuple(means), tuple(deviations)
