"""Standardising and augmenting a batch of images, as whole tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


def standardise(
    images: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """``(images - mean) / std`` by channel, in floats: [B, C, H, W] -> the same shape.

    ``mean`` and ``std`` [C] are on the scale 0 to 1, where the bytes 0..255 are put; float images are
    taken to be there.  ``dtype``: by default a float type stays, bytes become torch's default type.
    Raises TypeError for other whole numbers than bytes, ValueError for a wrong number of channels or
    a standard deviation that is not positive.
    """
    floating = images.is_floating_point()
    if not floating and images.dtype != torch.uint8:
        raise TypeError(f"images are uint8 or floating point, got {images.dtype}")
    channels = images.shape[1]
    if not len(mean) == len(std) == channels or not all(value > 0 for value in std):
        raise ValueError(
            f"images of {channels} channels take as many means and positive deviations, got {tuple(mean)} "
            f"and {tuple(std)}"
        )
    kind = dtype or (images.dtype if floating else torch.get_default_dtype())
    scale = 1.0 if floating else 255.0
    shape = (1, channels, 1, 1)
    centre = torch.tensor([scale * m for m in mean], dtype=kind, device=images.device).view(shape)
    spread = torch.tensor([scale * s for s in std], dtype=kind, device=images.device).view(shape)
    return (images.to(kind) - centre).div_(spread)


def pad_crop_flip(
    images: Tensor,
    *,
    padding: int = 4,
    flip: bool = True,
    generator: torch.Generator,
) -> Tensor:
    """Pad by reflection, crop at a random place, flip half of the images: [B, C, H, W] -> same shape.

    Draws as ``Crops.drawn``.  Any dtype.  Raises ValueError unless 0 <= padding < min(H, W).
    """
    check_padding(images, padding)
    return Crops.drawn(len(images), padding, flip=flip, generator=generator).of(images)


@dataclass(frozen=True, eq=False)
class Crops:
    """Where each of B images is cropped, and whether it is mirrored."""

    offsets: Tensor
    """[2, B], row and column, each in 0..2*padding."""
    flipped: Tensor
    """[B] bool."""
    padding: int

    @classmethod
    def drawn(cls, count: int, padding: int, *, flip: bool, generator: torch.Generator) -> Crops:
        """Draws, in this order: B row and B column offsets, then B coins where ``flip``."""
        device = generator.device
        offsets = torch.randint(2 * padding + 1, (2, count), generator=generator, device=device)
        coins = (
            torch.rand(count, generator=generator, device=device) < 0.5 if flip else torch.zeros(count) > 0
        )
        return cls(offsets, coins, padding)

    def rows(self, rows: slice) -> Crops:
        """Those of some of the images."""
        return replace(self, offsets=self.offsets[:, rows], flipped=self.flipped[rows])

    def of(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape."""
        down, right = self.offsets.to(images.device)
        return crop_flip(images, down, right, self.flipped.to(images.device), padding=self.padding)


def check_padding(images: Tensor, padding: int) -> None:
    """Raise ValueError for a padding that images [B, C, H, W] cannot reflect."""
    side = min(images.shape[2:])
    if not 0 <= padding < side:
        raise ValueError(f"padding by reflection lies in 0..{side - 1} for sides of {side}, got {padding}")


def crop_flip(images: Tensor, down: Tensor, right: Tensor, flipped: Tensor, *, padding: int) -> Tensor:
    """Crop image b of the reflect-padded batch at (down[b], right[b]); mirror it where flipped[b].

    One gather: each pixel of the result is looked up in the image without padding.
    """
    height, width = images.shape[2:]
    rows = _reflected(down, height, padding)
    columns = _reflected(right, width, padding)
    columns = torch.where(flipped.unsqueeze(1), columns.flip(1), columns)
    place = (rows.unsqueeze(2) * width + columns.unsqueeze(1)).flatten(1)
    places = place.unsqueeze(1).expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, places).view_as(images)


def _reflected(offset: Tensor, size: int, padding: int) -> Tensor:
    """Positions along one side that a crop at ``offset`` [B] shows: [B, size], each in 0..size-1."""
    place = (offset.unsqueeze(1) + torch.arange(size, device=offset.device) - padding).abs()
    return (size - 1) - ((size - 1) - place).abs()
