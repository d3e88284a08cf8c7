"""Pictures that tables, IDX files and saved data sets list: which columns are taken, which rows."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest
from own_pictures import picture, right, spoilt, write
from PIL import Image

from metaweight.data.image_set import ImageSet
from metaweight.data.own_images import OwnImages, Wanted, load_own


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With 0.png to 5.png."""
    for number in range(6):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.png")
    return tmp_path


def load(place: object, **columns: str) -> ImageSet:
    return load_own(OwnImages(train=str(place), columns=Wanted(**columns)))


def table(folder: Path, header: str, *rows: str, name: str = "t.csv") -> Path:
    (folder / name).write_text("\n".join([*([header] if header else []), *rows]) + "\n")
    return folder / name


@pytest.mark.parametrize(
    ("header", "row", "columns"),
    [
        ("", "{n}.png,{c}", {}),
        ("path,label", "{n}.png,{c}", {}),
        ("kind,where it is", "{c},{n}.png", {}),  # no name that is known: told by what is in it
        ("kind;file;more", "{c};{n}.png;{n}", {"label": "kind"}),
        ("id,class,image,size", "{n},{c},{n}.png,8", {}),
        ("image,thumb,class", "{n}.png,no{n}.png,{c}", {}),  # two columns of paths, one called so
        ("big,thumb,class", "{n}.png,no{n}.png,{c}", {"picture": "big"}),
        ("a,b", " {n}.png , {c} ", {"label": "b"}),
    ],
)
def test_the_columns_are_told_or_named(header: str, row: str, columns: dict[str, str], folder: Path) -> None:
    rows = [row.format(n=n, c="ox" if n % 2 else "ape") for n in range(6)]
    made = load(table(folder, header, *rows), **columns)
    assert made.classes == ("ape", "ox")
    assert made.train_labels.tolist() == [0, 1] * 3
    first = 2 if header else 1
    assert [str(o) for o in made.origins("train")] == [
        f"{folder}/t.csv, line {n + first} ({n}.png)" for n in range(6)
    ]


def test_numbers_are_classes_in_their_order(folder: Path) -> None:
    made = load(table(folder, "path,label", *(f"{n}.png,{(9, 10, 2)[n % 3]}" for n in range(6))))
    assert made.classes == ("2", "9", "10")
    assert made.train_labels.tolist() == [1, 2, 0] * 2


@pytest.mark.parametrize(
    ("header", "row", "columns", "message"),
    [
        ("path,kind", "{n}.png,{c}", {"label": "kid"}, r"t.csv has no column 'kid'. Did you mean 'kind'"),
        ("path,kind", "{n}.png,{c}", {"picture": "pth"}, "t.csv has no column 'pth'. Did you mean 'path'"),
        ("a,b", "{n},{c}", {}, r"no columns of paths of pictures.*--picture COLUMN. Columns: a, b$"),
        ("path,a,b", "{n}.png,{c},z", {}, "which column is the label.*--label COLUMN. Columns: path, a, b"),
        ("path,label", "{n}.png,{n}", {}, "each of its 6 classes .* has one picture"),
        (
            "path,label",
            "sub/{n}.png,{c}",
            {},
            "line 2 .*there is no file .*/sub/0.png.*Paths begin at the fol",
        ),
        (
            "path,label,t",
            "{n}.png,{c},{c}",
            {"meta_column": "t"},
            "line 2 .*'t' is 'ape'; it marks trusted rows with yes",
        ),
        ("path,label,t", "{n}.png,{c},", {"meta_column": "t"}, "'t' marks no row as trusted"),
        ("path,label,t", "{n}.png,{c},1", {"meta_column": "t"}, "'t' marks every row as trusted"),
    ],
)
def test_columns_that_do_not_do(
    header: str, row: str, columns: dict[str, str], message: str, folder: Path
) -> None:
    rows = [row.format(n=n, c="ox" if n % 2 else "ape") for n in range(6)]
    with pytest.raises(ValueError, match=message):
        load(table(folder, header, *rows), **columns)


def test_rows_without_label_or_picture_are_left_out_by_line(folder: Path) -> None:
    rows = ["0.png,ape", "1.png,", "gone.png,ox", ",ox", "2.png,ape", "3.png,ox"]
    place = table(folder, "path,label", *rows)
    made = load(place)
    assert [origin.row for origin in made.origins("train")] == [2, 6, 7]
    assert [row[1:] for row in made.left_out.rows()] == [
        ("3", "1.png", "it has no label", ""),
        ("4", "gone.png", f"the picture cannot be read: there is no file {folder}/gone.png", "class ox"),
        ("5", "", "the picture cannot be read: there is no picture", "class ox"),
    ]
    assert "1 picture without a label is left out: " in made.notes
    train = table(folder, "path,label", "4.png,ape", "5.png,ox", "5.png,ox", name="train.csv")
    with pytest.raises(ValueError, match=r"meta: .*t.csv, line 3 \(1.png\) has no label; trusted pictures"):
        load_own(OwnImages(train=str(train), meta=str(place)))


def test_a_place_that_is_nothing_is_refused(folder: Path) -> None:
    train = str(table(folder, "", *(f"{n}.png,{'ab'[n % 2]}" for n in range(6))))
    (folder / "a.zip").write_bytes(b"PK\3\4")
    for place, message in {
        "gone": "meta: there is no file or folder .*gone",
        "0.png": "0.png is one picture; give a folder",
        "a.zip": r"a.zip is nothing that pictures are read from \(unpack an archive first\)",
    }.items():
        with pytest.raises(ValueError, match=message):
            load_own(OwnImages(train=train, meta=str(folder / place)))


def test_columns_need_a_table(tmp_path: Path) -> None:
    place = write("folder", tmp_path / "train", range(6), right(range(6)))
    with pytest.raises(ValueError, match=r"label names the column 'x', but no part is a table"):
        load(place, label="x")
    with pytest.raises(ValueError, match=r"meta_column: .* is no table, so it has no column 'x'"):
        load(place, meta_column="x")


def test_idx_files_have_their_labels_beside_them(tmp_path: Path) -> None:
    place = Path(write("idx", tmp_path / "idx", range(10), spoilt(range(10))))
    made = load(place)
    assert made.classes == ("0", "1")
    assert str(made.origins("train")[9]) == f"{place}, row 10"
    labels = place.with_name("train-labels-idx1-ubyte")
    with pytest.raises(ValueError, match="is called like labels; name the file of the pictures"):
        load(labels)
    content = labels.read_bytes()
    labels.write_bytes(content[:7] + b"\x09" + content[8:-1])
    with pytest.raises(ValueError, match=r"holds 10 pictures, .*train-labels-idx1-ubyte 9 labels"):
        load(place)
    labels.unlink()
    with pytest.raises(ValueError, match=r"the file of its labels is not there: train-labels-idx1-ubyte, or"):
        load(place)


def saved(path: Path, **splits: range) -> str:
    features = datasets.Features(
        {
            "x": datasets.Image(),
            "kind": datasets.ClassLabel(names=["light", "dark"]),
            "ok": datasets.Value("bool"),
        }
    )
    made = {}
    for name, numbers in splits.items():
        rows = {
            "x": [Image.fromarray(picture(n)) for n in numbers],
            "kind": [-1 if n == 3 else 1 - n % 2 for n in numbers],
            "ok": [n > 5 for n in numbers],
        }
        made[name] = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict(made).save_to_disk(str(path))
    return f"hf:{path}"


def test_splits_of_a_data_set_are_parts(tmp_path: Path) -> None:
    place = saved(tmp_path / "d", train=range(10), test=range(10, 14), more=range(14, 20))
    made = load_own(OwnImages(train=place, meta=f"{place}?split=more[2:]", test=place))
    assert made.classes == ("light", "dark")  # in the order of the feature
    assert (len(made.train_labels), len(made.test_labels)) == (9 + 4, 4)
    assert str(made.origins("train")[9]) == f"{place}, split more, row 3"
    assert [row[1] for row in made.left_out.rows()] == ["4"]  # without a label
    marked = load(place, meta_column="ok")
    assert marked.trusted["meta"].tolist() == [5, 6, 7, 8]
    for text, message in {
        place: "has the splits train, test, more: say which one is valid with \\?split=SPLIT",
        f"{place}?split=tst": "Did you mean 'test'",
        f"{place}?size=9": "unknown option 'size'",
        "hf:./gone": "there is no such file or folder",
    }.items():
        with pytest.raises((ValueError, TypeError), match=message):
            load_own(OwnImages(train=place, valid=text))
    with pytest.raises(ValueError, match=r"has no column 'knd'\. Did you mean 'kind'"):
        load(place, label="knd")
    with pytest.raises(ValueError, match=r"column 'kind' holds ClassLabel\(.*, no images"):
        load(place, picture="kind")
