from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
import torch

from metaweight.data import load_images
from metaweight.data.idx import DEBIAN, read_idx

IMAGES = torch.randint(256, (12, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12, dtype=torch.uint8) % 10


def idx(values: torch.Tensor) -> bytes:
    """As the format's description has it: magic, big-endian sizes, bytes."""
    head = struct.pack(">BBBB", 0, 0, 8, values.dim()) + struct.pack(f">{values.dim()}i", *values.shape)
    return head + bytes(values.flatten().tolist())


def write(folder: Path, *, packed: bool = False, images: torch.Tensor = IMAGES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in {
        "train-images-idx3-ubyte": images,
        "train-labels-idx1-ubyte": LABELS,
        "t10k-images-idx3-ubyte": images[:5],
        "t10k-labels-idx1-ubyte": LABELS[:5],
    }.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(idx(values)) if packed else idx(values))
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "printed"), [("mnist", "MNIST"), ("fashion-mnist", "Fashion-MNIST")])
def test_files_lie_in_the_folder_or_in_one_of_the_sets_name(tmp_path, name, printed, packed):
    write(tmp_path, packed=packed)
    write(tmp_path / name, packed=packed, images=255 - IMAGES)
    inner, outer = load_images(name, tmp_path), load_images(name, tmp_path / name)
    for made in (inner, outer):  # the set's own folder goes before the folder itself
        assert torch.equal(made.train_images, (255 - IMAGES).unsqueeze(1))
    assert inner.name == printed
    assert torch.equal(inner.test_images, (255 - IMAGES[:5]).unsqueeze(1))
    assert inner.train_labels.tolist() == LABELS.tolist()
    assert inner.test_labels.tolist() == LABELS[:5].tolist()
    assert len(inner.classes) == 10


def test_fashion_mnist_falls_to_the_folder_of_the_debian_package(tmp_path, monkeypatch):
    monkeypatch.delenv("METAWEIGHT_DATA", raising=False)
    monkeypatch.setattr("metaweight.data.idx.DEBIAN", write(tmp_path / "system", packed=True))
    assert torch.equal(load_images("fashion-mnist").train_images[:, 0], IMAGES)
    with pytest.raises(ValueError, match="'mnist' needs the file"):
        load_images("mnist")


def test_a_missing_file_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte\.gz; looked in"):
        load_images("mnist", tmp_path)


def test_labels_of_another_number_and_out_of_range_are_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:7]))
    with pytest.raises(ValueError, match=r"MNIST: train labels have shape \(7,\)"):
        load_images("mnist", tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS + 3))
    with pytest.raises(ValueError, match=r"MNIST, train labels: .* got 10 at position 7"):
        load_images("mnist", tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "begins with nothing"),
        (idx(LABELS), "begins with 00000801, .* 00000803"),
        (b"\x1f\x8b" + idx(IMAGES), "begins with 1f8b0000"),
        (idx(IMAGES)[:-1], f"holds {12 * 784 + 15} bytes, its header says {12 * 784 + 16}"),
        (idx(IMAGES) + b"x", f"holds {12 * 784 + 17} bytes"),
        (idx(IMAGES)[:9], "holds 9 bytes, its header says"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path, content, complaint):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"images {complaint}"):
        read_idx(path, dimensions=3)


@pytest.mark.parametrize("content", [gzip.compress(idx(IMAGES))[:-20], idx(IMAGES)], ids=["cut", "not gzip"])
def test_a_broken_gzip_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"images\.gz is no whole gzip file"):
        read_idx(path, dimensions=3)


@pytest.mark.data
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist_itself():
    made = load_images("fashion-mnist")
    assert made.train_images.shape == (60_000, 1, 28, 28)
    assert torch.bincount(made.train_labels).tolist() == [6000] * 10
    assert torch.bincount(made.test_labels).tolist() == [1000] * 10
    assert made.mean == pytest.approx((0.2860,), abs=1e-4)  # the widely published figures
    assert made.std == pytest.approx((0.3530,), abs=1e-4)
