from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits

from metaweight.data import ImageSet, load_images
from metaweight.data.folder import data_folder, find_file


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return load_images("digits")


def test_digits_lose_no_level_and_fill_the_bytes(digits):
    images = torch.cat([digits.train_images, digits.test_images])
    levels = images.unique().tolist()
    assert len(levels) == 17
    assert (levels[0], levels[-1]) == (0, 255)
    assert levels == [round(k * 255 / 16) for k in range(17)]


def test_digits_test_images_are_every_fourth_of_each_class(digits):
    bunch = load_digits()
    seen, test, train = dict.fromkeys(range(10), 0), [], []
    for image, label in zip(bunch.images, bunch.target, strict=True):
        seen[label] += 1
        part = test if seen[label] % 4 == 0 else train
        part.append((label, [round(k * 255 / 16) for k in image.flatten().tolist()]))
    for rows, images, labels in (
        (train, digits.train_images, digits.train_labels),
        (test, digits.test_images, digits.test_labels),
    ):
        assert labels.tolist() == [label for label, _ in rows]
        assert images.flatten(1).tolist() == [pixels for _, pixels in rows]
    assert (len(train), len(test)) == (1352, 445)


def test_digits_are_grey_8_by_8_with_ten_classes(digits):
    assert digits.train_images.shape[1:] == (1, 8, 8)
    assert digits.classes == tuple("0123456789")
    assert digits.human == digits.class_map == {}


def test_mean_and_deviation_are_those_of_the_training_pixels():
    images = torch.randint(256, (30, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(30) % 2
    made = ImageSet("made", images, labels, images[:4] * 0, labels[:4], classes=("a", "b"))
    scaled = images.double() / 255
    assert made.mean == pytest.approx(scaled.mean((0, 2, 3)).tolist(), abs=1e-14)
    assert made.std == pytest.approx(scaled.std((0, 2, 3), correction=0).tolist(), abs=1e-14)


@pytest.mark.parametrize(
    ("change", "error", "complaint"),
    [
        ({"train_images": torch.zeros(1352, 1, 8, 8)}, TypeError, "train images are uint8"),
        ({"test_images": torch.zeros(445, 8, 8).byte()}, ValueError, "test images have shape"),
        ({"train_images": torch.zeros(0, 1, 8, 8).byte()}, ValueError, "N > 0 to train"),
        ({"test_images": torch.zeros(445, 1, 9, 8).byte()}, ValueError, r"test images \(1, 9, 8\)"),
        ({"train_labels": torch.zeros(1352)}, TypeError, "train labels are int64"),
        ({"train_labels": torch.zeros(9).long()}, ValueError, r"shape \(9,\), the images \(1352,\)"),
        ({"test_labels": torch.full((445,), 10)}, ValueError, "digits, test labels: .* 0 to 9, got 10"),
        ({"human": {"worse": torch.zeros(9).long()}}, ValueError, "human labels 'worse' have shape"),
        ({"human": {"worse": torch.full((1352,), -1)}}, ValueError, "human labels 'worse': .* got -1"),
    ],
)
def test_parts_that_do_not_fit_are_refused(digits, change, error, complaint):
    with pytest.raises(error, match=complaint):
        replace(digits, **change)


def test_an_unknown_name_gets_the_nearest_and_the_way_to_the_hub():
    with pytest.raises(KeyError, match=r"Did you mean 'fashion-mnist'.*hf:NAME.*benchmarks\.data"):
        load_images("fashion_mnist")


def test_a_missing_folder_is_asked_for(monkeypatch):
    monkeypatch.delenv("METAWEIGHT_DATA", raising=False)
    with pytest.raises(ValueError, match=r"'mnist' needs the file .*no folder.*METAWEIGHT_DATA.*hf:"):
        load_images("mnist")


def test_the_folder_comes_from_the_argument_then_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("METAWEIGHT_DATA", raising=False)
    assert data_folder(None) is None
    monkeypatch.setenv("METAWEIGHT_DATA", str(tmp_path / "gone"))
    assert data_folder(tmp_path) == tmp_path
    with pytest.raises(
        ValueError, match=r"METAWEIGHT_DATA names the data folder '.*gone', which is not there"
    ):
        data_folder(None)
    monkeypatch.setenv("METAWEIGHT_DATA", str(tmp_path))
    assert data_folder(None) == tmp_path
    with pytest.raises(ValueError, match="data_dir names the data folder"):
        data_folder(tmp_path / "gone")


def test_a_missing_file_says_where_it_was_looked_for(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two").touch()
    folders = [tmp_path / "a", tmp_path / "b"]
    assert find_file(["one", "two"], folders, dataset="x") == tmp_path / "b" / "two"
    with pytest.raises(ValueError, match=r"'x' needs the file one or three; looked in .*a, .*b\. Name"):
        find_file(["one", "three"], folders, dataset="x")
