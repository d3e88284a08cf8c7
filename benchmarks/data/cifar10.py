"""CIFAR-10 from JPEG sheets, with the human labels of CIFAR-10N."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metaweight.data.folder import find_file
from metaweight.data.image_set import ImageSet
from metaweight.data.images import datasets

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CONFUSIONS = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
"""truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog.  Patrini et al. (CVPR 2017)."""
FOLDER = "cifar10_jpeg_q90"
HUMAN = "cifar10N_human_noisy_labels.npz"
HINT = ", or load the original from the Hugging Face hub as hf:uoft-cs/cifar10"
TILE, ACROSS = 32, 100
"""Pixels along a tile, tiles along a sheet: 10,000 images a sheet."""


@datasets.register("cifar10")
def cifar10(data_dir: Path | None) -> ImageSet:
    """CIFAR-10 (JPEG q90), 50,000 + 10,000 colour images of 32x32, from ``data_dir``.

    Sheets of quality 90, so results are not those of CIFAR-10 proper.  ``human`` has the labels of
    CIFAR-10N (Wei et al., ICLR 2022: aggre, random1, random2, random3, worse) where their file is there.
    Raises ValueError for a file that is missing, broken or does not fit the others.
    """
    folders = [] if data_dir is None else [data_dir]

    def find(name: str) -> Path:
        return find_file((name,), folders, dataset="cifar10", hint=HINT)

    # the small files first: what is missing is said at once
    labels = read_labels(find("cifar10_labels.npz"), {"train": 50_000, "test": 10_000})
    human = {}
    if (path := find("cifar10_labels.npz").with_name(HUMAN)).is_file():
        human = human_labels(path, labels["train"])
    train = torch.cat([read_sheet(find(f"{FOLDER}/train_{number}.jpg")) for number in range(5)])
    return ImageSet(
        name="CIFAR-10 (JPEG q90)",
        train_images=train,
        train_labels=labels["train"],
        test_images=read_sheet(find(f"{FOLDER}/test.jpg")),
        test_labels=labels["test"],
        classes=CLASSES,
        human=human,
        class_map=CONFUSIONS,
        source="Krizhevsky (2009), re-encoded as JPEG of quality 90; CIFAR-10N by Wei et al. (ICLR 2022)",
    )


def read_sheet(path: Path, *, tile: int = TILE, across: int = ACROSS) -> Tensor:
    """The tiles of a square sheet, row by row: uint8 [across^2, 3, tile, tile].

    Raises ValueError for a file that is truncated, no image, or of another size.
    """
    from PIL import Image

    side = tile * across
    try:
        with Image.open(path) as image:
            size = image.size
            pixels = np.asarray(image.convert("RGB")) if size == (side, side) else None
    except (OSError, SyntaxError) as error:
        raise ValueError(
            f"{path} is no whole image ({error}); a sheet is {side}x{side} pixels: fetch it again"
        ) from error
    if pixels is None:
        raise ValueError(f"{path} has {size[0]}x{size[1]} pixels, a sheet {side}x{side}; fetch it again")
    tiles = pixels.reshape(across, tile, across, tile, 3).transpose(0, 2, 4, 1, 3)
    return torch.from_numpy(np.ascontiguousarray(tiles)).view(across * across, 3, tile, tile)


def read_labels(path: Path, sizes: dict[str, int]) -> dict[str, Tensor]:
    """The named arrays of an npz file as int64 labels.

    Raises ValueError for a broken file, and an array that is missing, no whole numbers or of another length.
    """
    try:
        with path.open("rb") as file, np.load(file) as stored:  # numpy leaves a broken file open
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no whole npz file ({error}); fetch it again") from error
    for name, size in sizes.items():
        if name not in arrays:
            raise ValueError(f"{path} has no array {name!r}, only {', '.join(arrays) or 'nothing'}")
        array = arrays[name]
        if array.shape != (size,) or array.dtype.kind not in "iu":
            raise ValueError(
                f"{path}: {name!r} is {array.dtype} {array.shape}, expected {size} integer labels"
            )
    return {name: torch.from_numpy(arrays[name].astype(np.int64)) for name in sizes}


def human_labels(path: Path, clean: Tensor) -> dict[str, Tensor]:
    """The labels of CIFAR-10N by name, each [N] int64.

    Raises ValueError where the file's own clean labels are not ``clean``: another order of the images.
    """
    names = ("aggre", "random1", "random2", "random3", "worse")
    labels = read_labels(path, dict.fromkeys(("clean", *names), len(clean)))
    differing = int((labels.pop("clean") != clean).sum())
    if differing:
        raise ValueError(
            f"{path}: its clean labels differ from the training labels at {differing} positions; "
            "both files must be in CIFAR-10's own order"
        )
    return labels
