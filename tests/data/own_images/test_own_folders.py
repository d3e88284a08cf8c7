"""Pictures in folders: what is read, what is skipped and counted, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from own_pictures import picture, right, write_folder
from PIL import Image

from metaweight.data.own_images import OwnImages, load_own


def load(train: object, **options: object) -> object:
    return load_own(OwnImages(train=str(train), **options))


def test_classes_are_folders_and_pictures_lie_at_any_depth(tmp_path: Path) -> None:
    for number, file in enumerate(["a/1.PNG", "a/x/2.jpeg", "a/x/y/3.gif", "b/4.webp", "b/5.tif", "b/6.bmp"]):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number)).save(tmp_path / file)
    (tmp_path / "b" / "back").symlink_to(tmp_path)
    made = load_own(OwnImages(train=f"{tmp_path}/"))
    assert made.classes == ("a", "b")
    assert made.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    names = [origin.file.removeprefix(f"{tmp_path}/") for origin in made.origins("train")]
    assert names == ["a/1.PNG", "a/x/2.jpeg", "a/x/y/3.gif", "b/4.webp", "b/5.tif", "b/6.bmp"]
    assert len(made.test_labels) == 0


def test_what_is_no_picture_is_skipped_and_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, range(6), right(range(6)))
    for name in (
        ".DS_Store",
        "dark/.hidden.png",
        "dark/Thumbs.db",
        "light/notes.txt",
        "__MACOSX/light/a.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    Image.fromarray(picture(9)).save(tmp_path / "loose.png")
    made = load_own(OwnImages(train=str(tmp_path)))
    assert len(made.train_labels) == 6
    assert made.classes == ("dark", "light")
    assert f"2 files are no pictures, the first {tmp_path}/dark/Thumbs.db;" in made.notes
    assert "hidden files and folders are skipped: 3" in made.notes
    assert f"1 folder has no picture and is no class: {tmp_path}/empty" in made.notes
    assert [row[0] for row in made.left_out.rows()] == [f"{tmp_path}/loose.png"]
    assert "no class" in made.left_out.reasons[0]


def test_pictures_that_do_not_open_are_left_out_by_name(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", range(8), right(range(8)))
    meta = write_folder(tmp_path / "meta", range(8, 12), right(range(8, 12)))
    (tmp_path / "train" / "light" / "003.png").write_text("no picture")
    whole = (tmp_path / "meta" / "dark" / "010.png").read_bytes()
    (tmp_path / "meta" / "dark" / "010.png").write_bytes(whole[:-30])
    made = load_own(OwnImages(train=str(tmp_path / "train"), meta=meta))
    assert len(made.train_labels) == 10
    assert made.trusted["meta"].tolist() == [7, 8, 9]
    (one, other) = made.left_out.rows()
    assert one == (
        f"{tmp_path}/train/light/003.png",
        "",
        "",
        "the picture cannot be read: it is no picture of a known format",
        "class light",
    )
    assert other[0] == f"{tmp_path}/meta/dark/010.png"
    assert "2 pictures that cannot be read are left out, the first" in made.notes
    kept = made.origins("train").select(range(7))
    assert [int(Path(origin.file).stem) for origin in kept] == [0, 2, 4, 6, 1, 5, 7]


def test_a_folder_that_tells_no_classes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="none holds no picture; a folder has one sub folder a class"):
        load(tmp_path / "none")
    write_folder(tmp_path / "one", [0, 2], ["dark", "dark"])
    with pytest.raises(ValueError, match="one has one class, 'dark'; there are two at least"):
        load(tmp_path / "one")
    with pytest.raises(ValueError, match=r"dark: 2 pictures \(.*000.png the first\), but no sub folder"):
        load(tmp_path / "one" / "dark")
    write_folder(tmp_path / "each", range(3), ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"each of its 3 classes \(a, b, c, \.\.\.\) has one picture"):
        load(tmp_path / "each")
    write_folder(tmp_path / "parts" / "train", range(4), right(range(4)))
    write_folder(tmp_path / "parts" / "test", range(4, 8), right(range(4, 8)))
    with pytest.raises(ValueError, match=r"has the folders test, train, which are called like parts.*--test"):
        load(tmp_path / "parts")
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte").touch()
    with pytest.raises(ValueError, match=r"it holds IDX files: name that of the pictures, .*ubyte"):
        load(tmp_path / "mnist")
    (tmp_path / "bad" / "a").mkdir(parents=True)
    (tmp_path / "bad" / "b").mkdir()
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        (tmp_path / "bad" / name).write_text("?")
    with pytest.raises(ValueError, match=r"none of its 3 pictures can be read: .*a/1.png: it is no picture"):
        load(tmp_path / "bad")


def test_classes_of_other_parts_are_those_of_train(tmp_path: Path) -> None:
    train = write_folder(tmp_path / "train", range(6), right(range(6)))
    other = write_folder(tmp_path / "other", range(6, 9), ["dark", "Light", "gray"])
    for part in ("meta", "valid", "test"):
        with pytest.raises(
            ValueError,
            match=rf"{part}: 2 pictures of .*lack: 'Light', 'gray', the first .*007.png. Did you mean 'lig",
        ):
            load(train, **{part: other})


@pytest.mark.parametrize("held", ["meta", "valid", "test"])
def test_a_picture_that_a_trusted_part_has_too_is_refused_or_dropped(held: str, tmp_path: Path) -> None:
    train = write_folder(tmp_path / "train", range(8), right(range(8)))
    other = write_folder(tmp_path / "other", (4, 8, 9), ["light", *right((8, 9))])
    with pytest.raises(
        ValueError,
        match=rf"1 of the train pictures .* among the {held} .*dark/004.png is .*light/004.png;.*drop",
    ):
        load(train, **{held: other})
    made = load_own(OwnImages(train=train, drop=True, **{held: other}))
    assert int(made.train_labels.bincount().sum()) == 7 + (3 if held != "test" else 0)
    ((file, *_, reason, text),) = made.left_out.rows()
    assert (file, text) == (f"{train}/dark/004.png", "class dark")
    assert reason == f"the same picture is in {held}: {other}/light/004.png"
    assert "1 picture that a trusted part has is left out" in made.notes
    again = write_folder(tmp_path / "again", (9, 10), right((9, 10)))
    if held != "meta":
        with pytest.raises(ValueError, match=rf"1 of the meta pictures .* among the {held} .*; remove them$"):
            load(train, drop=True, meta=again, **{held: other})
    with pytest.raises(ValueError, match=r"no picture of .* is left to train on"):
        load(train, drop=True, **{held: train})


def test_a_name_that_no_list_could_hold_is_refused_before_the_run(tmp_path: Path) -> None:
    write_folder(tmp_path, range(6), right(range(6)))
    name = os.fsdecode(b"caf\xe9.png")
    Image.fromarray(picture(7)).save(tmp_path / "dark" / "café.png")
    assert len(load_own(OwnImages(train=str(tmp_path))).train_labels) == 7
    (tmp_path / "dark" / "café.png").rename(tmp_path / "dark" / name)
    with pytest.raises(
        ValueError, match=r"train: the name '.*dark/caf\\\\udce9.png' is no UTF-8.*; rename it"
    ):
        load(tmp_path)
