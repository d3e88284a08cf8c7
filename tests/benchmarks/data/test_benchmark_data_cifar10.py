from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from real_data import DATA, needs

from benchmarks.data.cifar10 import human_labels, read_labels, read_sheet
from metaweight.data import ImageSet, corrupt, load_images

HUMAN = ("aggre", "random1", "random2", "random3", "worse")
needs_images = needs("cifar10_labels.npz")


def draw_sheet(path: Path, *, side: int = 32, **options: object) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(256, size=(side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def test_tiles_are_read_row_by_row(tmp_path):
    pixels = draw_sheet(tmp_path / "sheet.png", side=12)
    tiles = read_sheet(tmp_path / "sheet.png", tile=4, across=3)
    assert tiles.shape == (9, 3, 4, 4)
    for number in range(9):
        top, left = 4 * (number // 3), 4 * (number % 3)
        crop = pixels[top : top + 4, left : left + 4]
        assert torch.equal(tiles[number].permute(1, 2, 0), torch.from_numpy(crop.copy()))


def test_a_truncated_sheet_is_refused_by_name_and_size(tmp_path):
    path = tmp_path / "train_3.jpg"
    draw_sheet(path, side=64)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"train_3\.jpg is no whole image .*truncated.*64x64 pixels"):
        read_sheet(path, tile=32, across=2)


def test_a_sheet_of_another_size_or_kind_is_refused(tmp_path):
    path = tmp_path / "test.jpg"
    draw_sheet(path, side=64)
    with pytest.raises(ValueError, match=r"test\.jpg has 64x64 pixels, a sheet 3200x3200"):
        read_sheet(path)
    path.write_bytes(b"no image at all")
    with pytest.raises(ValueError, match="is no whole image"):
        read_sheet(path)


def test_label_files_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "labels.npz"
    np.savez(path, train=np.arange(5, dtype=np.uint8), test=np.zeros(3), square=np.zeros((2, 2), int))
    assert read_labels(path, {"train": 5})["train"].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="no array 'valid', only train, test, square"):
        read_labels(path, {"valid": 5})
    with pytest.raises(ValueError, match=r"'train' is uint8 \(5,\), expected 6"):
        read_labels(path, {"train": 6})
    with pytest.raises(ValueError, match="'test' is float64"):
        read_labels(path, {"test": 3})
    with pytest.raises(ValueError, match=r"\(2, 2\), expected 4"):
        read_labels(path, {"square": 4})
    whole = path.read_bytes()
    np.save(tmp_path / "one.npy", np.arange(5))
    for broken in (whole[: len(whole) // 2], b"", b"text", (tmp_path / "one.npy").read_bytes()):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"labels\.npz is no whole npz file"):
            read_labels(path, {"train": 5})


def test_human_labels_of_another_order_are_refused(tmp_path):
    clean = torch.arange(6) % 3
    path = tmp_path / "human.npz"
    given = {name: np.full(6, number, dtype=np.uint8) for number, name in enumerate(HUMAN)}
    np.savez(path, clean=clean.numpy(), **given)
    people = human_labels(path, clean)
    assert tuple(people) == HUMAN
    assert [int(labels[0]) for labels in people.values()] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"human\.npz: its clean labels differ .* at 4 positions"):
        human_labels(path, clean.roll(3).flip(0).index_fill(0, torch.tensor([1, 4]), 1).clamp(max=1))


def test_without_a_folder_one_is_asked_for(monkeypatch):
    monkeypatch.delenv("METAWEIGHT_DATA", raising=False)
    with pytest.raises(ValueError, match=r"'cifar10' needs the file .*no folder.*METAWEIGHT_DATA.*hf:"):
        load_images("cifar10")


def test_a_missing_label_file_is_named_before_any_sheet_is_read(tmp_path):
    with pytest.raises(
        ValueError, match=r"needs the file cifar10_labels\.npz; looked in .*hf:uoft-cs/cifar10"
    ):
        load_images("cifar10", tmp_path)
    np.savez(tmp_path / "cifar10_labels.npz", train=np.zeros(50_000, int), test=np.zeros(10_000, int))
    with pytest.raises(ValueError, match=r"cifar10_jpeg_q90/train_0\.jpg; looked in"):
        load_images("cifar10", tmp_path)


@pytest.fixture(scope="module")
def cifar() -> ImageSet:
    return load_images("cifar10", DATA)


@pytest.mark.data
@needs_images
def test_cifar10_has_its_counts_and_its_honest_name(cifar):
    assert cifar.name == "CIFAR-10 (JPEG q90)"
    assert cifar.train_images.shape == (50_000, 3, 32, 32)
    assert torch.bincount(cifar.train_labels).tolist() == [5000] * 10
    assert torch.bincount(cifar.test_labels).tolist() == [1000] * 10
    # the published figures of CIFAR-10 itself; the compression moves them little
    assert cifar.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=2e-4)
    assert cifar.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=5e-4)


@pytest.mark.data
@needs_images
@pytest.mark.parametrize(("sheet", "number"), [(0, 0), (0, 101), (4, 9999)])
def test_a_tile_is_the_crop_of_its_sheet(cifar, sheet, number):
    left, top = 32 * (number % 100), 32 * (number // 100)
    with Image.open(DATA / "cifar10_jpeg_q90" / f"train_{sheet}.jpg") as image:
        crop = np.asarray(image.convert("RGB").crop((left, top, left + 32, top + 32)))
    assert torch.equal(
        cifar.train_images[10_000 * sheet + number].permute(1, 2, 0), torch.from_numpy(crop.copy())
    )


@pytest.mark.data
@needs_images
def test_human_labels_have_their_published_error_rates(cifar):
    published = dict(zip(HUMAN, (9.01, 17.23, 18.12, 17.64, 40.21), strict=True))
    assert set(cifar.human) == set(published)
    for name, rate in published.items():
        noisy = corrupt(
            "human",
            cifar.train_labels,
            rate=0,
            classes=10,
            human=cifar.human[name],
            generator=torch.Generator(),
        )
        assert 100 * noisy.realised == pytest.approx(rate, abs=0.005)


@pytest.mark.data
@needs_images
def test_the_class_map_of_cifar10_names_the_usual_confusions(cifar):
    named = {(cifar.classes[a], cifar.classes[b]) for a, b in cifar.class_map.items()}
    pairs = "truck automobile, bird airplane, deer horse, cat dog, dog cat"
    assert named == {tuple(pair.split()) for pair in pairs.split(", ")}
