from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from metaweight.data import load_images
from metaweight.data.hub import HubName

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(256, size=(9, 6, 6, 3), dtype=np.uint8)
LABELS = [0, 1, 2] * 3
NAMES = ["cat", "ant", "bee"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The library's cache lies in the test's own folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def rows(first: int, last: int, *, mode: str = "RGB", label: object = None, **more: list) -> datasets.Dataset:
    images = [Image.fromarray(p).convert(mode) for p in PIXELS[first:last]]
    columns = {"picture": images, "kind": LABELS[first:last], **more}
    kind = label or datasets.ClassLabel(names=NAMES)
    features = {"picture": datasets.Image(), "kind": kind}
    features |= {name: datasets.Value("int64") for name in more}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def save(path: Path, **splits: datasets.Dataset) -> str:
    datasets.DatasetDict(splits).save_to_disk(str(path))
    return f"hf:{path}"


def test_a_saved_dataset_dict_gives_its_pixels_and_labels(tmp_path):
    made = load_images(save(tmp_path / "d", train=rows(0, 6), test=rows(6, 9)))
    assert torch.equal(made.train_images.permute(0, 2, 3, 1), torch.from_numpy(PIXELS[:6]))
    assert torch.equal(made.test_images.permute(0, 2, 3, 1), torch.from_numpy(PIXELS[6:]))
    assert made.train_labels.tolist() == LABELS[:6]
    assert made.classes == tuple(NAMES)  # in the feature's order


def test_grey_images_have_one_channel(tmp_path):
    made = load_images(save(tmp_path / "d", train=rows(0, 6, mode="L"), test=rows(6, 9, mode="L")))
    assert made.train_images.shape == (6, 1, 6, 6)
    grey = np.asarray(Image.fromarray(PIXELS[7]).convert("L"))
    assert torch.equal(made.test_images[1, 0], torch.from_numpy(grey.copy()))


def test_an_image_folder_is_read_with_its_folder_names_as_classes(tmp_path):
    for number in range(9):
        split = "train" if number < 6 else "test"
        folder = tmp_path / "pets" / split / NAMES[LABELS[number]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[number]).save(folder / f"{number}.png")
    made = load_images(f"hf:{tmp_path / 'pets'}")
    assert made.classes == ("ant", "bee", "cat")
    found = {
        (made.classes[label], image.permute(1, 2, 0).numpy().tobytes())
        for image, label in zip(made.train_images, made.train_labels.tolist(), strict=True)
    }
    assert found == {(NAMES[LABELS[i]], PIXELS[i].tobytes()) for i in range(6)}


def test_a_parquet_file_can_be_cut_into_splits(tmp_path):
    path = tmp_path / "all.parquet"
    rows(0, 9).to_parquet(str(path))
    made = load_images(f"hf:{path}?train=train[:6]&test=train[6:]")
    assert torch.equal(made.train_images.permute(0, 2, 3, 1), torch.from_numpy(PIXELS[:6]))
    assert made.test_labels.tolist() == LABELS[6:]


def test_several_label_columns_must_be_chosen_from(tmp_path):
    both = [
        part.add_column("coarse", [0] * len(part), feature=datasets.ClassLabel(names=["x"]))
        for part in (rows(0, 6), rows(6, 9))
    ]
    name = save(tmp_path / "d", train=both[0], test=both[1])
    with pytest.raises(
        ValueError, match=r"2 columns of type ClassLabel; name the label column .*kind.*coarse"
    ):
        load_images(name)
    assert load_images(f"{name}?label=coarse").classes == ("x",)
    assert load_images(f"{name}?label=kind").classes == tuple(NAMES)


def test_labels_of_another_type_are_numbered_by_their_sorted_training_values(tmp_path):
    name = save(tmp_path / "d", train=rows(0, 6, year=[7, 3, 7, 9, 3, 9]), test=rows(6, 9, year=[9, 9, 3]))
    made = load_images(f"{name}?label=year&image=picture")
    assert made.classes == ("3", "7", "9")
    assert made.train_labels.tolist() == [1, 0, 1, 2, 0, 2]
    assert made.test_labels.tolist() == [2, 2, 0]


def test_a_label_that_is_no_training_class_is_refused(tmp_path):
    name = save(tmp_path / "d", train=rows(0, 6, year=[1, 2] * 3), test=rows(6, 9, year=[1, 2, 5]))
    with pytest.raises(ValueError, match=r"split 'test', column 'year': row 2 has the label 5"):
        load_images(f"{name}?label=year")


def test_images_of_different_sizes_are_refused_or_resized(tmp_path):
    images = [Image.fromarray(PIXELS[0]), Image.fromarray(np.full((5, 9, 3), 77, dtype=np.uint8))]
    features = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=NAMES)})
    odd = datasets.Dataset.from_dict({"picture": images, "kind": [0, 1]}, features=features)
    name = save(tmp_path / "d", train=odd, test=odd)
    with pytest.raises(ValueError, match=r"image 1 has 9x5 pixels, the first 6x6; resize all with \?size="):
        load_images(name)
    made = load_images(f"{name}?size=4")
    assert made.train_images.shape == (2, 3, 4, 4)
    assert made.train_images[1].unique().tolist() == [77]


def test_images_of_16_bits_are_refused(tmp_path):
    deep = datasets.Dataset.from_dict(
        {"picture": [Image.fromarray(np.full((4, 4), 999, dtype=np.uint16))], "kind": [0]},
        features=datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=NAMES)}),
    )
    with pytest.raises(ValueError, match="row 0 has an image of mode I;16, not of 8 bits"):
        load_images(save(tmp_path / "d", train=deep, test=deep))


def test_unknown_columns_and_splits_get_the_nearest(tmp_path):
    name = save(tmp_path / "d", train=rows(0, 6), test=rows(6, 9))
    with pytest.raises(ValueError, match=r"no column 'pictur'\. Did you mean 'picture'"):
        load_images(f"{name}?image=pictur")
    with pytest.raises(
        ValueError, match=r"split 'tset', cannot be loaded: no split 'tset'\. Did you mean 'test'"
    ):
        load_images(f"{name}?test=tset")
    with pytest.raises(ValueError, match=r"column 'kind' holds ClassLabel.*no images"):
        load_images(f"{name}?image=kind")


def test_what_cannot_be_found_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no such file or folder"):
        load_images(f"hf:{tmp_path / 'gone'}")
    rows(0, 3).save_to_disk(str(tmp_path / "one"))
    with pytest.raises(ValueError, match="one split alone"):
        load_images(f"hf:{tmp_path / 'one'}")

    def offline(*_args: object, **_options: object) -> None:
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(ValueError, match=r"hf:no/such, split 'train', cannot be loaded: Couldn't.*hf:PATH"):
        load_images("hf:no/such")


def test_a_hub_name_and_its_config_reach_the_library(monkeypatch):
    asked = []

    def load(name: str, config: str | None, *, split: str) -> datasets.Dataset:
        asked.append((name, config, split))
        return rows(0, 3)

    monkeypatch.setattr(datasets, "load_dataset", load)
    made = load_images("hf:some-one/pets@small?test=validation")
    assert asked == [("some-one/pets", "small", "train"), ("some-one/pets", "small", "validation")]
    assert made.name == "hf:some-one/pets@small?test=validation"


def test_a_name_is_taken_apart():
    assert HubName.parse("hf:a/b") == HubName("a/b")
    assert HubName.parse("hf:a/b@c?image=i&label=l&train=t[:80%]&test=u&size=32") == HubName(
        "a/b", "c", image="i", label="l", train="t[:80%]", test="u", size=32
    )


@pytest.mark.parametrize(
    ("text", "error", "complaint"),
    [
        ("hf:", ValueError, "names no data set; write hf:NAME"),
        ("hf:?image=x", ValueError, "names no data set"),
        ("hf:a?imge=x", TypeError, "unknown option 'imge'\\. Did you mean 'image'"),
        ("hf:a?name=x", TypeError, "unknown option 'name'"),
        ("hf:a?image", ValueError, "option 'image' has the value ''"),
        ("hf:a?size=big", ValueError, "option 'size' has the value 'big'"),
        ("hf:a?size=0", ValueError, "option 'size' has the value '0'"),
    ],
)
def test_a_bad_name_is_refused(text, error, complaint):
    with pytest.raises(error, match=complaint):
        HubName.parse(text)
