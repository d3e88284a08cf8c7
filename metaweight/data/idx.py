"""MNIST and Fashion-MNIST from their IDX files."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from metaweight.data.folder import find_file
from metaweight.data.image_set import ImageSet
from metaweight.data.origins import Origins

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""
FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def mnist(data_dir: Path | None) -> ImageSet:
    """MNIST, 60,000 + 10,000 grey images of 28x28, from ``data_dir/mnist`` or ``data_dir``.

    Fashion-MNIST's files bear the same names: keep each set in a folder of its own name.
    """
    return _load(
        "mnist",
        "MNIST",
        data_dir,
        classes=tuple("0123456789"),
        source="LeCun, Bottou, Bengio and Haffner (1998)",
        hub="ylecun/mnist",
    )


def fashion_mnist(data_dir: Path | None) -> ImageSet:
    """Fashion-MNIST, 60,000 + 10,000 grey images of 28x28.

    From ``data_dir/fashion-mnist``, ``data_dir``, or the folder of Debian's dataset-fashion-mnist.
    """
    return _load(
        "fashion-mnist",
        "Fashion-MNIST",
        data_dir,
        classes=FASHION,
        source="Xiao, Rasul and Vollgraf (2017), arXiv 1708.07747",
        hub="zalando-datasets/fashion_mnist",
        system=DEBIAN,
    )


def _load(
    key: str,
    name: str,
    data_dir: Path | None,
    *,
    classes: tuple[str, ...],
    source: str,
    hub: str,
    system: Path | None = None,
) -> ImageSet:
    folders = [] if data_dir is None else [data_dir / key, data_dir]
    folders += [] if system is None else [system]

    def read(file: str, dimensions: int) -> tuple[Tensor, Origins]:
        hint = f", or load it from the Hugging Face hub as hf:{hub}"
        path = find_file((file, f"{file}.gz"), folders, dataset=key, hint=hint)
        read = read_idx(path, dimensions=dimensions)
        return read, Origins.of(str(path), range(1, len(read) + 1))

    train_images, train_origins = read("train-images-idx3-ubyte", 3)
    test_images, test_origins = read("t10k-images-idx3-ubyte", 3)
    return ImageSet(
        name=name,
        train_images=train_images.unsqueeze(1),
        train_labels=read("train-labels-idx1-ubyte", 1)[0].long(),
        test_images=test_images.unsqueeze(1),
        test_labels=read("t10k-labels-idx1-ubyte", 1)[0].long(),
        classes=classes,
        train_origins=train_origins,
        test_origins=test_origins,
        source=source,
    )


def read_idx(path: Path, *, dimensions: int) -> Tensor:
    """An IDX file of unsigned bytes, gzipped or not, as uint8 of its own shape.

    Raises ValueError for another magic number, number of dimensions or length than it should have.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is no whole gzip file ({error}); fetch it again") from error
    magic, header = bytes([0, 0, 8, dimensions]), 4 + 4 * dimensions
    if data[:4] != magic:
        raise ValueError(
            f"{path} begins with {data[:4].hex() or 'nothing'}, an IDX file of bytes in {dimensions} "
            f"dimension(s) with {magic.hex()}; is it another file, or unpacked wrongly?"
        )
    shape = [int.from_bytes(data[i : i + 4], "big") for i in range(4, header, 4)]
    expected = header + math.prod(shape)
    if len(data) != expected:
        raise ValueError(f"{path} holds {len(data)} bytes, its header says {expected}; fetch it again")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=header).view(shape)
