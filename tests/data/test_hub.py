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
    with pytest.raises(ValueError, match=r"split test, row 3 has the label 5 in 'year'"):
        load_images(f"{name}?label=year")


def test_images_of_different_sizes_are_refused_or_resized(tmp_path):
    images = [Image.fromarray(PIXELS[0]), Image.fromarray(np.full((5, 9, 3), 77, dtype=np.uint8))]
    features = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=NAMES)})
    odd = datasets.Dataset.from_dict({"picture": images, "kind": [0, 1]}, features=features)
    name = save(tmp_path / "d", train=odd, test=odd)
    with pytest.raises(
        ValueError,
        match=r"split train, row 2 has 9x5 pixels; .*split test, row 2.* 6x6; resize all with \?size=",
    ):
        load_images(name)
    made = load_images(f"{name}?size=4")
    assert made.train_images.shape == (2, 3, 4, 4)
    assert made.train_images[1].unique().tolist() == [77]


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
        ("hf:a?skip=all", ValueError, "option 'skip' has the value 'all'"),
        ("hf:a?ground=red", ValueError, "ground is white, black or #rrggbb, got 'red'"),
        ("hf:a?valid=x", ValueError, "names valid, but no trusted rows for the meta set"),
    ],
)
def test_a_bad_name_is_refused(text, error, complaint):
    with pytest.raises(error, match=complaint):
        HubName.parse(text)


def broken(first: int, last: int, *positions: int) -> datasets.Dataset:
    """``rows`` of which some pictures are cut off, by position; their files have names."""
    made = rows(first, last).cast_column("picture", datasets.Image(decode=False))
    cells = [{**cell, "path": f"{place}.png"} for place, cell in enumerate(made["picture"])]
    for position in positions:
        cells[position]["bytes"] = cells[position]["bytes"][:70]
    columns = {"picture": cells, "kind": made["kind"]}
    return datasets.Dataset.from_dict(columns, features=rows(0, 1).features)


def test_pictures_that_cannot_be_read_are_named_or_left_out_and_listed(tmp_path):
    name = save(tmp_path / "d", train=broken(0, 6, 1, 4), test=broken(6, 9, 0))
    with pytest.raises(
        ValueError,
        match=r"train, row 2 \(1\.png\): the picture cannot .*row 5 .*test, row 1 .*\?skip=corrupt",
    ):
        load_images(name)
    made = load_images(f"{name}?skip=corrupt")
    assert made.train_labels.tolist() == [LABELS[i] for i in (0, 2, 3, 5)]
    assert made.origins("train").row.tolist() == [1, 3, 4, 6]
    assert made.origins("test").names == ("1.png", "2.png")
    listed = list(made.left_out.rows())
    assert [row[1:3] for row in listed] == [("2", "1.png"), ("5", "4.png"), ("1", "0.png")]
    assert listed[2][0] == f"{name}, split test"
    assert "3 that cannot be read are left out" in made.notes


def test_rows_are_those_of_the_whole_split_and_files_those_of_the_folder(tmp_path):
    name = save(tmp_path / "d", train=rows(0, 6), test=rows(6, 9))
    made = load_images(f"{name}?train=train[3:]+test[:1]&test=train[:2]")
    assert [str(origin) for origin in made.origins("train")] == [
        f"{name}, split train, row 4",
        f"{name}, split train, row 5",
        f"{name}, split train, row 6",
        f"{name}, split test, row 1",
    ]
    assert torch.equal(made.train_images.permute(0, 2, 3, 1), torch.from_numpy(PIXELS[3:7]))
    assert made.origins("test").row.tolist() == [1, 2]
    for number in range(4):
        folder = tmp_path / "pets" / ("train" if number < 2 else "test") / NAMES[LABELS[number % 2]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[number]).save(folder / f"{number}.png")
    found = load_images(f"hf:{tmp_path / 'pets'}").origins("train").names
    assert sorted(found) == ["train/ant/1.png", "train/cat/0.png"]


def test_one_picture_in_colour_makes_both_splits_colour(tmp_path):
    mixed = datasets.concatenate_datasets([rows(6, 8, mode="L"), rows(8, 9)])
    made = load_images(save(tmp_path / "d", train=rows(0, 6, mode="L"), test=mixed))
    assert made.train_images.shape == (6, 3, 6, 6)
    assert made.test_images.shape == (3, 3, 6, 6)
    assert "of 9 pictures 8 grey beside others in colour" in made.notes


def test_the_ground_under_transparent_pixels_is_said_and_can_be_chosen(tmp_path):
    empty = [Image.new("RGBA", (4, 4), (0, 0, 0, 0)), Image.new("RGBA", (4, 4), (9, 9, 9, 255))]
    part = datasets.Dataset.from_dict({"picture": empty, "kind": [0, 1]}, features=rows(0, 1).features)
    name = save(tmp_path / "d", train=part, test=part)
    made = load_images(name)
    assert made.train_images[0].unique().tolist() == [255]
    assert "of 4 pictures 2 with transparency, which lies over white (?ground=" in made.notes
    assert load_images(f"{name}?ground=#0a0a0a").test_images[0].unique().tolist() == [10]


def test_named_trusted_rows_stand_behind_the_others(tmp_path):
    name = save(tmp_path / "d", train=rows(0, 6), test=rows(6, 9))
    made = load_images(f"{name}?train=train[2:]&meta=train[:1]&valid=train[1:2]")
    assert not made.clean
    assert {part: positions.tolist() for part, positions in made.trusted.items()} == {
        "meta": [4],
        "valid": [5],
    }
    assert made.train_labels.tolist() == [LABELS[i] for i in (2, 3, 4, 5, 0, 1)]
    assert made.origins("train").row.tolist() == [3, 4, 5, 6, 1, 2]
    with pytest.raises(ValueError, match=r"meta and train share 1 rows, the first .*, row 1; name parts"):
        load_images(f"{name}?meta=train[:1]")
    with pytest.raises(ValueError, match=r"meta and test share 3 rows"):
        load_images(f"{name}?meta=test")


def test_splits_whose_classes_differ_are_refused(tmp_path):
    other = rows(6, 9, label=datasets.ClassLabel(names=["ant", "bee", "cat"]))
    with pytest.raises(ValueError, match=r"the classes of 'test' are \['ant', 'bee', 'cat'\], of 'train'"):
        load_images(save(tmp_path / "d", train=rows(0, 6), test=other))
