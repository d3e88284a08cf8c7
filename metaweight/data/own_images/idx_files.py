"""Pictures in a file of IDX format, as MNIST is given, with its labels beside it."""

from __future__ import annotations

from pathlib import Path

from metaweight.data.idx import read_idx
from metaweight.data.origins import Origins
from metaweight.data.own_images.found import Found


def is_idx(path: Path) -> bool:
    """Whether a file is called like one of IDX format, or begins like one."""
    with path.open("rb") as file:
        return "idx" in path.name or file.read(3) == b"\0\0\x08"


def find_idx(place: str) -> Found:
    """Grey pictures [n, H, W] of ``place`` and the labels of the file beside it; both may be gzipped.

    ``train-images-idx3-ubyte.gz`` has its labels in ``train-labels-idx1-ubyte.gz`` or without ``.gz``.
    Raises ValueError where the labels are not there, are fewer or more, and as ``read_idx``.
    """
    path = Path(place).expanduser()
    if "labels" in path.name and "images" not in path.name:
        raise ValueError(f"{place} is called like labels; name the file of the pictures, images-idx3")
    beside = _labels_of(path)
    pixels = read_idx(path, dimensions=3).numpy()
    labels = read_idx(beside, dimensions=1).tolist()
    if len(labels) != len(pixels):
        raise ValueError(f"{place} holds {len(pixels):,} pictures, {beside} {len(labels):,} labels")
    return Found(
        place,
        lambda position: pixels[position],
        tuple(map(str, labels)),
        Origins.of(place, range(1, len(labels) + 1)),
        notes=(f"{place}: labels are {beside.name}",),
    )


def _labels_of(path: Path) -> Path:
    bare = path.name.removesuffix(".gz")
    name = bare.replace("images", "labels").replace("idx3", "idx1")
    for beside in (path.with_name(name), path.with_name(f"{name}.gz")):
        if name != bare and beside.is_file():
            return beside
    wanted = name if name != bare else "train-labels-idx1-ubyte beside train-images-idx3-ubyte"
    raise ValueError(f"{path}: the file of its labels is not there: {wanted}, or the same with .gz")
