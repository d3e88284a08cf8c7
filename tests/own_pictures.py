"""Tiny pictures of a user's own, in every form that is read; their pixels tell what they show."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metaweight.tasks.config import ImageConfig

Pixels = NDArray[np.uint8]
CLASSES = ("dark", "light")
FORMS = ("folder", "csv", "jsonl", "parquet", "idx", "disk")


def picture(number: int) -> Pixels:
    """[8, 8], another one for each number; even ones are dark."""
    low = 0 if number % 2 == 0 else 150
    return np.random.default_rng(number).integers(low, low + 100, size=(8, 8), dtype=np.uint8)


def shown(pixels: Pixels) -> str:
    """The class that a picture really has."""
    return CLASSES[int(pixels.mean() > 125)]


def right(numbers: Sequence[int]) -> list[str]:
    """The class of each number's picture."""
    return [shown(picture(number)) for number in numbers]


def spoilt(numbers: Sequence[int]) -> list[str]:
    """The same, but that of each fifth is the other one."""
    other = dict(zip(CLASSES, reversed(CLASSES), strict=True))
    return [name if number % 5 else other[name] for number, name in zip(numbers, right(numbers), strict=True)]


def write_folder(folder: Path, numbers: Sequence[int], labels: Sequence[str]) -> str:
    for number, label in zip(numbers, labels, strict=True):
        file = folder / label / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number)).save(file)
    return str(folder)


def write(form: str, folder: Path, numbers: Sequence[int], labels: Sequence[str]) -> str:
    """The place of these pictures, in a form that is one of FORMS."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "folder": write_folder,
        "csv": _csv,
        "jsonl": _jsonl,
        "parquet": _parquet,
        "idx": _idx,
        "disk": _disk,
    }[form](folder, numbers, labels)


def _files(folder: Path, numbers: Sequence[int]) -> list[str]:
    """Paths from ``folder``, in which no class is named."""
    (folder / "files").mkdir()
    for number in numbers:
        Image.fromarray(picture(number)).save(folder / "files" / f"{number}.bmp")
    return [f"files/{number}.bmp" for number in numbers]


def _csv(folder: Path, numbers: Sequence[int], labels: Sequence[str]) -> str:
    """With a blank line behind every third row."""
    lines = ["photograph,what it shows,note"]
    for place, (file, label) in enumerate(zip(_files(folder, numbers), labels, strict=True)):
        lines += [f'{file},{label},"two\nlines"', *([""] if place % 3 == 0 else [])]
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "list.csv")


def _jsonl(folder: Path, numbers: Sequence[int], labels: Sequence[str]) -> str:
    pairs = zip(_files(folder, numbers), labels, strict=True)
    lines = [json.dumps({"image": file, "what it shows": label}) for file, label in pairs]
    (folder / "list.jsonl").write_text("\n".join(lines))
    return str(folder / "list.jsonl")


def _parquet(folder: Path, numbers: Sequence[int], labels: Sequence[str]) -> str:
    import pandas

    content = [(folder / file).read_bytes() for file in _files(folder, numbers)]
    frame = pandas.DataFrame({"what it shows": labels, "content": content})
    frame.to_parquet(folder / "list.parquet")
    return str(folder / "list.parquet")


def _idx(folder: Path, numbers: Sequence[int], labels: Sequence[str]) -> str:
    pixels = np.stack([picture(number) for number in numbers])
    head = b"".join(size.to_bytes(4, "big") for size in pixels.shape)
    with gzip.open(folder / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(b"\0\0\x08\x03" + head + pixels.tobytes())
    codes = bytes(CLASSES.index(label) for label in labels)
    head = len(codes).to_bytes(4, "big")
    (folder / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + head + codes)
    return str(folder / "train-images-idx3-ubyte.gz")


def _disk(folder: Path, numbers: Sequence[int], labels: Sequence[str]) -> str:
    import datasets

    features = datasets.Features(
        {"picture": datasets.Image(), "what it shows": datasets.ClassLabel(names=list(CLASSES))}
    )
    images = [Image.fromarray(picture(number)) for number in numbers]
    rows = {"picture": images, "what it shows": labels}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(folder / "saved"))
    return str(folder / "saved")


def config(**options: Any) -> ImageConfig:
    """A run of a second."""
    return ImageConfig(
        **{
            "batch_size": 20,
            "meta_batch_size": 10,
            "epochs": 1,
            "warmup_epochs": 0,
            "model_options": {"width": 4},
            **options,
        }
    )
