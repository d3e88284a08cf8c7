"""`metaweight rate` on every kind of data: row N is row N of the user's new file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
import tiny_rows
import tiny_texts
import tiny_translation
from own_pictures import picture, right, spoilt, write_folder
from PIL import Image
from slowly import slowly
from tiny_translation import words

from metaweight.cli.main import main
from metaweight.core.csv_text import read_csv
from metaweight.data.text.vocabulary import train_vocabulary
from metaweight.tasks.image import data as image_data

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    image_data._own.cache_clear()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rate(new: str, *arguments: str) -> list[dict[str, str]]:
    assert main(["rate", new, "--rater", "run", *arguments]) == 0
    return read_csv(Path("rated.csv"))


def table() -> None:
    """A run on a table."""
    tiny_rows.write(Path("train.csv"), tiny_rows.rows(100, 0, range(0, 100, 5)))
    tiny_rows.write(Path("meta.csv"), tiny_rows.rows(40, 1))
    files = ["--train", "train.csv", "--label", "kind", "--meta", "meta.csv", "--out", "run"]
    assert main(["train", *tiny_rows.QUICK, *files]) == 0


@pytest.mark.parametrize("ending", ["csv", "parquet", *slowly("tsv", "jsonl")])
def test_a_table_of_any_kind_keeps_its_rows_and_columns(ending: str) -> None:
    table()
    rows = [{**row, "note": f"n{number}", "weight": "7"} for number, row in enumerate(tiny_rows.rows(30, 2))]
    tiny_rows.write(Path(f"new.{ending}"), rows)
    rated = rate(f"new.{ending}")
    assert list(rated[0]) == [
        *("file", "row", "name", "x", "y", "colour", "note", "own_weight"),
        *("given_label", "weight", "suggested_label", "share"),
    ]
    first = 2 if ending in ("csv", "tsv") else 1
    assert [int(row["row"]) for row in rated] == list(range(first, first + 30))
    assert [row["note"] for row in rated] == [row["note"] for row in rows]
    assert [row["given_label"] for row in rated] == [row["kind"] for row in rows]
    assert all(0 < float(row["weight"]) < 2 and row["own_weight"] == "7" for row in rated)


def test_texts(capsys: Capsys) -> None:
    tiny_texts.write_texts(Path("train.csv"), tiny_texts.texts(80, 0, range(0, 80, 7)))
    tiny_texts.write_texts(Path("meta.csv"), tiny_texts.texts(40, 200))
    files = ["--train", "train.csv", "--label", "kind", "--meta", "meta.csv", "--out", "run"]
    for pieces in ("words", "bpe"):
        own = ["--pieces", pieces, "--out", f"run-{pieces}", "--teacher", "memory"]
        assert main(["train", "--task", "text", *tiny_texts.QUICK, *files[:-2], *own]) == 0
        new = tiny_texts.texts(20, 300)
        new[4]["text"] = " "
        tiny_texts.write_texts(Path("new.jsonl"), new)
        out = f"{pieces}.csv"
        assert main(["rate", "new.jsonl", "--rater", f"run-{pieces}", "--out", out]) == 0
        assert "no weight for new.jsonl, line 5: no text in 'text'" in words(capsys)
        rated = read_csv(Path(out))
        assert [row["text"] for row in rated] == [row["text"] for row in new]
        assert [not row["weight"] for row in rated] == [place == 4 for place in range(20)]


@pytest.mark.parametrize("unit", ["sentence", "token"])
def test_sentences_of_labelled_tokens(unit: str) -> None:
    tiny_texts.write_bio(Path("train.bio"), tiny_texts.sentences(60, 0, (3, 10, 11)))
    tiny_texts.write_bio(Path("meta.bio"), tiny_texts.sentences(20, 1000))
    new = tiny_texts.sentences(25, 2000)
    lines = tiny_texts.write_bio(Path("new.bio"), new).read_text(encoding="utf-8").splitlines()
    quick = [*tiny_texts.QUICK, "--model-options", "width=16", "--unit", unit]
    assert main(["train", *quick, "--train", "train.bio", "--meta", "meta.bio", "--out", "run"]) == 0
    rated = rate("new.bio")
    for row, own in zip(rated, new, strict=True):
        assert row["tokens"] == " ".join(token for token, _ in own)
        assert row["given_label"] == " ".join(label for _, label in own)
        assert lines[int(row["row"]) - 1] == "\t".join(own[0])
    tokens = read_csv(Path("rated_tokens.csv"))
    assert [(row["token"], row["label"]) for row in tokens] == [pair for own in new for pair in own]
    for number, row in enumerate(rated):
        each = [float(token["weight"]) for token in tokens if token["index"] == str(number)]
        assert abs(sum(each) / len(each) - float(row["weight"])) < 1e-4
        assert (len(set(each)) > 1) is (unit == "token")


def test_pictures(capsys: Capsys) -> None:
    write_folder(Path("pictures"), range(40), spoilt(range(40)))
    write_folder(Path("checked"), range(40, 48), right(range(40, 48)))
    quick = ["--epochs", "2", "--warmup-epochs", "1", "--batch-size", "20", "--model-options", "width=4"]
    assert main(["train", *quick, "--train", "pictures", "--meta", "checked", "--out", "run"]) == 0
    write_folder(Path("new"), range(60, 80), right(range(60, 80)))
    for number, size in ((90, 11), (91, 20)):  # others are resized to what the run has
        Image.fromarray(picture(number)).resize((size, size)).save(f"new/light/{number}.png")
    Path("new/dark/broken.png").write_bytes(b"none")
    rated = rate("new/")
    assert "no weight for new/dark/broken.png: the picture cannot be read" in words(capsys)
    assert [row["file"] for row in rated] == sorted(map(str, Path("new").rglob("*.png")))
    assert {row["given_label"] for row in rated} == {"dark", "light"}
    assert [row["file"] for row in rated if not row["weight"]] == ["new/dark/broken.png"]
    Image.new("RGB", (8, 8), (200, 20, 20)).save("new/dark/red.png")
    assert main(["rate", "new", "--rater", "run", "--out", "again.csv"]) == 2
    assert "new/dark/red.png is in colour, and the run's pictures (pictures) are grey" in words(capsys)


@pytest.mark.parametrize(("teacher", "unit"), [("memory", "sentence"), *slowly(("surface", "token"))])
def test_sentence_pairs(teacher: str, unit: str, here: Path, capsys: Capsys) -> None:
    files = tiny_translation.own_files(here)
    options = tiny_translation.flags(teacher=teacher, unit=unit)
    assert main([*tiny_translation.TRAIN, *options, *tiny_translation.own(files), "--out", "run"]) == 0
    pairs = tiny_translation.pairs(100, 130)
    pairs[3] = ("rot", "")
    tiny_translation.write(Path("new.tsv"), pairs)
    rated = rate("new.tsv")
    assert "no weight for new.tsv, line 4: the target is empty" in words(capsys)
    assert [(row["source"], row["target"]) for row in rated] == pairs
    assert [int(row["row"]) for row in rated] == list(range(1, 31))
    alone = [float(line) for line in Path("rated.weights").read_text().splitlines()]
    assert alone == [float(row["weight"] or 0) for row in rated]
    for side in (0, 1):
        Path(f"new.{side}").write_text("".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8")
    assert main(["rate", "new.0,new.1", "--rater", "run", "--batch-size", "1", "--out", "two.csv"]) == 0
    weights = [[row["weight"] for row in read_csv(Path(name))] for name in ("rated.csv", "two.csv")]
    for one, other in zip(*weights, strict=True):
        assert abs(float(one or 0) - float(other or 0)) < 1e-5


@pytest.mark.parametrize(("teacher", "unit"), [*slowly(("memory", "sentence")), ("surface", "token")])
def test_weights_of_the_tokens_of_a_model_of_ones_own(teacher: str, unit: str, here: Path) -> None:
    files = tiny_translation.own_files(here)
    options = tiny_translation.flags(teacher=teacher, unit=unit)
    assert main([*tiny_translation.TRAIN, *options, *tiny_translation.own(files), "--out", "run"]) == 0
    pairs = tiny_translation.pairs(100, 110)
    pairs[3], pairs[5] = ("rot", ""), ("", "red blue")
    tiny_translation.write(Path("new.tsv"), pairs)
    # a word a token: red ▁blue, in Marian's own format
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(tiny_translation.TARGET)] * 30),
        model_prefix="vocab",
        vocab_size=7,
        model_type="word",
        minloglevel=2,
    )
    rated = rate("new.tsv", "--target-pieces", "vocab.model")
    lines = [line.split(" ") for line in tiny_translation.lines(Path("rated.token_weights"))]
    assert [len(line) for line in lines] == [len(target.split()) + 1 for _, target in pairs]
    assert lines[3] == ["0"]
    assert lines[5] == ["0"] * 3
    for line, row in zip(lines, rated, strict=True):
        if row["weight"]:
            numbers = [float(word) for word in line]
            assert min(numbers) - 1e-4 <= float(row["weight"]) <= max(numbers) + 1e-4
            assert (len(set(line)) > 1) is (unit == "token")
            assert unit == "token" or numbers[0] == pytest.approx(float(row["weight"]), rel=1e-5)
    Path("rated.csv").unlink()
    assert main(["rate", "new.tsv", "--rater", "run"]) == 2  # the weights of before are not overwritten
    assert main(["rate", "new.tsv", "--rater", "run", "--out", "b.csv", "--target-pieces", "new.tsv"]) == 2
    assert not Path("b.csv").exists()


def test_rows_that_are_no_pairs_have_no_tokens_of_a_model(capsys: Capsys) -> None:
    table()
    tiny_rows.write(Path("new.csv"), tiny_rows.rows(10, 2))
    train_vocabulary(["red and blue"], 20, at_most=True).save(Path("vocab.model"))
    assert main(["rate", "new.csv", "--rater", "run", "--target-pieces", "vocab.model"]) == 2
    assert "these rows are no sentence pairs" in words(capsys)
    assert not Path("rated.csv").exists()


def change_nothing(folder: Path) -> None:
    pass


def lose_rater(folder: Path) -> None:
    (folder / "run/rater.pt").unlink()


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        (change_nothing, ["--rater", "nowhere"], "nowhere is no run folder"),
        (
            lose_rater,
            ["--rater", "run"],
            "rater.pt is not there: it is written when a run ends",
        ),
        (change_nothing, ["--rater", "run", "--batch-size", "0"], "--batch-size is 1 or more, got 0"),
        (change_nothing, ["--rater", "run", "--out", "new.csv"], "new.csv exists: choose another file"),
    ],
)
def test_mistakes_say_how_to_mend_them(
    change: Callable[[Path], None], arguments: list[str], said: str, here: Path, capsys: Capsys
) -> None:
    table()
    tiny_rows.write(Path("new.csv"), tiny_rows.rows(10, 2))
    change(here)
    assert main(["rate", "new.csv", *arguments]) == 2
    assert said in words(capsys)
    assert not Path("rated.csv").exists()


def test_going_on_with_an_ended_run_writes_the_rater_again(here: Path) -> None:
    table()
    tiny_rows.write(Path("new.csv"), tiny_rows.rows(10, 2))
    before = Path("run/rater.pt").read_bytes()
    lose_rater(here)
    assert main(["train", "--resume", "run"]) == 0
    assert Path("run/rater.pt").read_bytes() == before
    rate("new.csv")


def test_a_class_that_the_run_does_not_know_is_named(capsys: Capsys) -> None:
    table()
    rows = tiny_rows.rows(10, 2)
    rows[3]["kind"] = "bird"
    tiny_rows.write(Path("new.csv"), rows)
    assert main(["rate", "new.csv", "--rater", "run"]) == 2
    assert "new.csv, line 5: this new row has the label 'bird'" in words(capsys)
