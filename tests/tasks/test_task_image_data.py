"""Which images a run uses, where they came from, what it leaves out, and whom it trusts."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_images import config

from metaweight.data import ImageSet, load_images
from metaweight.tasks import described, run, tasks
from metaweight.tasks.config import ImageConfig
from metaweight.tasks.image import data as image_data
from metaweight.tasks.image.data import PreparedImages
from metaweight.tasks.outcome import RunResult
from metaweight.training.run_folder import RunFolder

TASK = tasks["image"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's cache lies in the test's own folder, and no run finds another test's data."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    image_data._images.cache_clear()


def numbered(first: int, last: int, *, classes: int = 3, label: Any = None) -> datasets.Dataset:
    """Grey 8x8 images whose level is their number, of classes in turn."""
    images = [Image.new("L", (8, 8), number) for number in range(first, last)]
    labels = [number % classes for number in range(first, last)]
    names = datasets.ClassLabel(names=["a", "b", "c", "d"])
    features = datasets.Features({"image": datasets.Image(), "label": names})
    return datasets.Dataset.from_dict({"image": images, "label": label or labels}, features=features)


def save(folder: Path, **splits: datasets.Dataset) -> str:
    datasets.DatasetDict(splits).save_to_disk(str(folder))
    return f"hf:{folder}"


def own(data: str, **options: Any) -> ImageConfig:
    """A run of a moment on ``data``: all of it, 12 trusted rows and 9 to validate."""
    sizes = {"train_size": None, "meta_size": 12, "valid_size": 9}
    return replace(config(teacher="mlp", epochs=1), **{"data": data, **sizes, **options})


@pytest.fixture
def name(tmp_path: Path) -> str:
    return save(tmp_path / "own", train=numbered(0, 120), test=numbered(120, 150), checked=numbered(150, 180))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"train_size": 40},
        {"imbalance": "long-tail", "imbalance_ratio": 3.0, "noise": "uniform"},
        {"train_size": 60, "imbalance": "step", "imbalance_ratio": 2.0, "noise": "flip"},
    ],
)
@pytest.mark.parametrize("query", ["train=train[25%:]&meta=checked", "train=train[:50]+train[70:]"])
def test_every_row_is_used_or_listed_and_none_is_misnamed(
    options: dict[str, Any], query: str, name: str, tmp_path: Path
) -> None:
    chosen = own(f"{name}?{query}", meta_from_train="meta" not in query, **options)
    prepared = TASK.prepare(chosen)
    first = {f"{name}, split train": 0, f"{name}, split checked": 150}
    level = [first[origin.file] + origin.row - 1 for origin in prepared.origins]
    assert level == prepared.images.train_images[:, 0, 0, 0].tolist()
    splits = prepared.splits
    used = [level[k] for part in (splits.train, splits.meta, splits.valid) for k in part.tolist()]
    listed = [first[file] + int(row) - 1 for file, row, *_ in prepared.left_out.rows()]
    assert sorted(used + listed) == sorted(level)
    assert bool(listed) == (len(used) < len(level))
    for text, number in zip(prepared.left_out.texts, listed, strict=True):
        assert text == f"class {'abc'[number % 3]}"
    folder = RunFolder.create(tmp_path / "run", {})
    run(chosen, folder, prepared=prepared)
    with (folder.path / "weights.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(splits.train)
    for row in rows:
        number = first[row["file"]] + int(row["row"]) - 1
        assert number == int(prepared.images.train_images[int(row["index"]), 0, 0, 0])
        if "noise" not in options:
            assert row["given_label"] == "abc"[number % 3]


def test_the_reasons_say_what_took_a_row(name: str) -> None:
    chosen = own(name, train_size=60, imbalance="long-tail", imbalance_ratio=3.0, meta_from_train=True)
    reasons = TASK.prepare(chosen).left_out.reasons
    assert reasons.count("beyond train_size 60") == 120 - 12 - 9 - 60
    assert set(reasons) == {"beyond train_size 60", "taken by imbalance long-tail"}
    trusted = TASK.prepare(own(f"{name}?meta=checked", meta_size=6, valid_size=3)).left_out
    assert set(trusted.reasons) == {"trusted, beyond meta_size 6 and valid_size 3"}
    assert len(trusted) == 30 - 6 - 3


def test_digits_are_named_by_their_rows_in_the_file() -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    prepared = TASK.prepare(config(imbalance="step", imbalance_ratio=2.0))
    images = prepared.images
    for split in ("train", "test"):
        rows = images.origins(split).row - 1
        assert torch.equal(getattr(images, f"{split}_labels"), torch.from_numpy(bunch.target)[rows])
        levels = (torch.from_numpy(bunch.images)[rows].long() * 255 + 8) // 16
        assert torch.equal(getattr(images, f"{split}_images")[:, 0].long(), levels)
    assert images.origins("train").files == ("digits",)


def test_trusted_rows_come_from_the_split_that_is_named(name: str) -> None:
    prepared = TASK.prepare(own(f"{name}?meta=checked"))
    levels = prepared.images.train_images[:, 0, 0, 0]
    assert int(levels[prepared.splits.train].max()) < 120 == len(prepared.splits.train)
    assert int(levels[prepared.splits.meta].min()) >= 150
    assert int(levels[prepared.splits.valid].min()) >= 150
    labels = prepared.labels[prepared.splits.meta]
    assert torch.bincount(labels, minlength=4).tolist() == [4, 4, 4, 0]
    assert "12 of 30 trusted rows are the meta set, 9 the validation set" in described(prepared)
    both = TASK.prepare(own(f"{name}?meta=checked[:9]&valid=checked[9:]", meta_size=100, valid_size=100))
    assert sorted(both.images.train_images[both.splits.meta, 0, 0, 0].tolist()) == list(range(150, 159))
    assert len(both.splits.valid) == 21


def test_trusted_rows_of_own_labels_are_named_or_asked_for(name: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"teacher 'mlp' needs 12 trusted rows \(meta_size\), and 9 .*\?meta=SPLIT.*--meta-from-train",
    ):
        TASK.prepare(own(name))
    with pytest.raises(ValueError, match="remedy 'glc' needs 12 trusted rows"):
        TASK.prepare(own(name, teacher="uniform", remedy="glc"))
    with pytest.raises(ValueError, match="names its trusted rows, and meta_from_train draws them"):
        TASK.prepare(own(f"{name}?meta=checked", meta_from_train=True))
    with pytest.raises(ValueError, match="--meta-from-train"):  # before any data are loaded
        TASK.check(own("hf:not/there?size=8"))
    TASK.check(own("hf:not/there?meta=checked"))
    drawn = described(TASK.prepare(own(name, meta_from_train=True)))
    assert "meta set (12) and validation set (9) are drawn out of the training rows" in drawn
    assert drawn.endswith("meta_from_train")
    assert "the teacher looks at none of them" in described(TASK.prepare(own(name, teacher="uniform")))


def test_a_registered_set_says_itself_whether_it_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = load_images("digits")
    monkeypatch.setattr(image_data, "_images", lambda *_: replace(digits, clean=False))
    with pytest.raises(ValueError, match=r"digits: nobody says .*give the ImageSet their positions"):
        TASK.prepare(config(teacher="mlp"))
    trusted = replace(digits, clean=False, trusted={"meta": torch.arange(100)})
    monkeypatch.setattr(image_data, "_images", lambda *_: trusted)
    assert int(TASK.prepare(config(teacher="mlp")).splits.meta.max()) < 100


def said(outcome: Any) -> Mapping[str, str]:
    figures = {name: None if math.isnan(value) else value for name, value in outcome.figures.items()}
    history = tuple(outcome.history.epochs)
    return dict(TASK.presentation.of_run(RunResult("a", "none", 0, figures, history=history)))


def test_noise_that_nobody_knows_is_no_zero(name: str) -> None:
    prepared = TASK.prepare(own(f"{name}?meta=checked"))
    assert prepared.noise is None
    outcome = run(own(f"{name}?meta=checked"), prepared=prepared)
    assert math.isnan(outcome.figures["realised_noise"])
    assert math.isnan(outcome.figures["auroc"])
    lines = said(outcome)
    assert lines["wrong labels in the training set"] == "not known"
    assert not any("%" in text for what, text in lines.items() if "wrong labels" in what)
    put = own(f"{name}?meta=checked", noise="uniform")
    assert "wrong ones are those that the noise put in" in described(TASK.prepare(put))
    assert float(said(run(put))["wrong labels put into the training set"].rstrip("%")) > 10
    digits = said(run(config(epochs=1, teacher="uniform")))
    assert digits["wrong labels put into the training set"] == "0.0%"


def test_a_declared_class_without_samples_takes_no_part(tmp_path: Path) -> None:
    name = save(tmp_path / "gap", train=numbered(0, 60), test=numbered(60, 80))
    for size in (3, 4, 20):
        for seed in range(3):
            chosen = own(name, meta_size=size, seed=seed, meta_from_train=True)
            prepared = TASK.prepare(chosen)
            counts = torch.bincount(prepared.labels[prepared.splits.meta], minlength=4)
            assert counts[3] == 0
            assert counts[:3].max() - counts[:3].min() <= 1
            assert int(counts.sum()) == size
    assert prepared.images.classes == ("a", "b", "c", "d")
    TASK.prepare(own(name, imbalance="long-tail", imbalance_ratio=3.0, meta_from_train=True))
    rare = [0, 1] * 29 + [3, 3]
    uneven = save(tmp_path / "rare", train=numbered(0, 60, label=rare), test=numbered(0, 9))
    with pytest.raises(
        ValueError, match=r"class 3 \(d\) has 2 samples, asked for \d .* at most 6 can be had"
    ):
        TASK.prepare(own(uneven, meta_size=12, meta_from_train=True))
    TASK.prepare(own(uneven, meta_size=6, meta_from_train=True))


def test_a_batch_is_no_larger_than_the_training_set(name: str) -> None:
    prepared = TASK.prepare(own(name, train_size=8, meta_from_train=True))
    assert "a batch holds all 8 training images, fewer than 20" in described(prepared)
    assert len(TASK.sources(own(name, train_size=8), prepared).train.batch(0, 0)) == 8


def test_a_digest_changes_with_what_it_is_of_alone() -> None:
    digits = load_images("digits")

    def digests(images: ImageSet, **options: Any) -> Mapping[str, str]:
        made: PreparedImages = TASK.prepare(replace(config(), **options))
        return replace(made, images=images, labels=_spliced(made, images)).digests

    def _spliced(made: PreparedImages, images: ImageSet) -> torch.Tensor:
        return torch.where(images.train_labels == digits.train_labels, made.labels, images.train_labels)

    before, splits = digests(digits), TASK.prepare(config()).splits
    assert before == digests(digits)
    assert set(before) == {
        "pictures",
        "training labels",
        "training rows",
        "trusted rows",
        "validation rows",
        "test rows",
    }

    def changed(images: ImageSet = digits, **options: Any) -> set[str]:
        after = digests(images, **options)
        return {part for part in before if before[part] != after[part]}

    def one(field: str, position: int) -> ImageSet:
        values = getattr(digits, field).clone()
        values[position] = (values[position] + 1) % 10
        return replace(digits, **{field: values})

    assert changed(one("train_images", 3)) == {"pictures"}
    assert changed(one("test_images", 3)) == changed(one("test_labels", 3)) == {"test rows"}
    assert changed(one("train_labels", int(splits.train[0]))) == {"training labels"}
    assert changed(one("train_labels", int(splits.meta[0]))) == {"trusted rows"}
    assert changed(one("train_labels", int(splits.valid[0]))) == {"validation rows"}
    assert changed(noise="uniform") == {"training labels"}
    assert "training rows" in changed(train_size=59)
    assert np.all([len(value) == 32 for value in before.values()])
