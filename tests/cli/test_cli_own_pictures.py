"""Own pictures through the commands: from a folder to weights, list and page; what a mistake says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from own_pictures import picture, right, spoilt, write, write_folder
from PIL import Image
from tiny_translation import words

from metaweight.cli.main import main
from metaweight.core.csv_text import read_csv
from metaweight.tasks.image import data as image_data

QUICK = ["--epochs", "2", "--warmup-epochs", "1", "--batch-size", "20", "--model-options", "width=4"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder: pictures, checked and test; no run finds what an earlier one has read."""
    image_data._own.cache_clear()
    monkeypatch.chdir(tmp_path)
    write_folder(Path("pictures"), range(40), spoilt(range(40)))
    write_folder(Path("checked"), range(40, 48), right(range(40, 48)))
    write_folder(Path("test"), range(48, 56), right(range(48, 56)))
    return tmp_path


def train(*arguments: str, out: str = "run") -> int:
    return main(["train", *QUICK, "--out", out, *arguments])


def test_from_a_folder_to_weights_list_and_page(capsys: pytest.CaptureFixture[str]) -> None:
    # with the trusted ones they are no whole batches, and what is left over waits for another epoch
    assert train("--train", "pictures/", "--meta", "checked/", "--test", "test/", "--epochs", "6") == 0
    said = words(capsys)
    assert "data: pictures: own pictures; 8 of 8 trusted rows are the meta set, 0 the validation set" in said
    assert "wrong labels in the training set not known" in said.replace("│ ", "")
    assert "0.0%" not in said
    rows = read_csv(Path("run/weights.csv"))
    names = sorted(str(file) for file in Path("pictures").rglob("*.png"))
    assert sorted(row["file"] for row in rows) == names
    assert main(["suspects", "run"]) == 0
    listed = read_csv(Path("suspects.csv"))
    assert sorted(row["file"] for row in listed) == names
    assert main(["report", "run"]) == 0
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert rows[0]["file"].split("/")[-1] in page
    assert json.loads(Path("run/classes.json").read_text()) == ["dark", "light"]


def test_a_table_of_pictures_is_listed_with_its_columns_and_shown(here: Path) -> None:
    place = write("csv", here / "table", range(40), spoilt(range(40)))
    chosen = ["--label", "what it shows", "--epochs", "8", "--teacher", "evidence"]
    assert train("--train", place, "--meta", "checked", *chosen) == 0
    assert main(["suspects", "run"]) == 0
    assert {row["note"] for row in read_csv(Path("suspects.csv"))} == {"two\nlines"}
    assert main(["report", "run"]) == 0
    page = Path("run/report.html").read_text(encoding="utf-8")
    data = re.search(r'id="rows">(.*?)</script>', page, re.S)
    assert data is not None
    rows = json.loads(data[1])
    assert {"photograph", "note"} <= set(rows["columns"])
    assert len(rows["pictures"]) == len(rows["rows"]) == 40


def test_a_comparison_without_test_set_says_that_accuracy_is_not_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = ["--arms", "uniform", "mlp", "--noises", "none", "--seeds", "0", "--jobs", "1", "--out", "grid"]
    assert main(["compare", *QUICK, "--train", "pictures", "--meta", "checked", *more]) == 0
    assert "There is no test set, so accuracy is not known: name one with --test." in words(capsys)
    assert Path("grid/report.html").is_file()


def test_a_run_goes_on_with_the_same_pictures_elsewhere_and_no_others(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--train", "pictures", "--meta", "checked") == 0
    Path("pictures").rename("moved")
    assert main(["train", "--resume", "run", "--train", "moved"]) == 0
    Image.fromarray(picture(99)).save("moved/dark/002.png")
    image_data._own.cache_clear()  # another process reads anew
    assert main(["train", "--resume", "run", "--train", "moved"]) == 2
    assert "the pictures are not what the run was started with" in words(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--train pictures", "needs trusted rows, 100 or so and some of each class. Check so many"),
        ("--train gone --meta checked", "gone: there is no such file"),
        ("--train empty --meta checked", "empty holds no picture"),
        ("--train pictures/dark --meta checked", "but no sub folder that would tell their classes"),
        ("--train one --meta checked", "one has one class, 'dark'"),
        ("--train pictures --meta named", "have a class that the training pictures (pictures) lack: 'cats'"),
        ("--train pictures --meta one", "(one) have none of class 'light' (20 to train)"),
        ("--train pictures --meta pictures", "40 of the train pictures (pictures) are among the meta"),
        ("--train list.csv --meta checked --label kid", "list.csv has no column 'kid'. Did you mean 'kind'"),
        ("--train list.csv --meta checked --picture at", "list.csv has no column 'at'. Did you mean 'path'"),
        ("--train list.csv --label kind --meta-column ok", "'ok' is 'maybe'; it marks trusted rows with yes"),
        ("--train lost.csv --meta checked", "there is no file lost/0.png"),
        ("--train pictures/dark/002.png --meta checked", "002.png is one picture"),
        ("--train pictures --meta checked --overlap drp", "unknown overlap 'drp'. Did you mean 'drop'"),
        ("--train pictures --meta checked --picture-size 4", "picture_size is 8 pixels or more"),
        ("--train pictures --meta checked --picture-ground 9", "ground is white, black or #rrggbb"),
        ("--meta checked", "meta goes with train"),
        ("--picture-size 32", "picture_size goes with train"),
        ("--train pictures --meta checked --data mnist", "data names a data set, train your own data"),
    ],
)
def test_a_mistake_is_named_and_leaves_nothing_behind(
    arguments: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    write_folder(Path("one"), (60, 62), ["dark"] * 2)
    write_folder(Path("named"), (60, 61), ["cats", "dogs"])
    write("csv", Path("t"), range(6), right(range(6)))
    lines = [f"t/files/{n}.bmp,{c},maybe" for n, c in enumerate(right(range(6)))]
    Path("list.csv").write_text("\n".join(["path,kind,ok", *lines]))
    Path("lost.csv").write_text("path,kind\nlost/0.png,dark\nlost/1.png,light\nlost/2.png,dark\n")
    before = sorted(here.rglob("*"))
    assert train(*arguments.split()) == 2
    assert message in words(capsys)
    assert sorted(here.rglob("*")) == before
