"""A run on own pictures: row N is the user's row N, in every form, and the wrong ones are found by name."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from own_pictures import CLASSES, FORMS, Pixels, config, picture, right, shown, spoilt, write, write_folder
from PIL import Image

from metaweight.core.csv_text import read_csv
from metaweight.core.weights import auroc
from metaweight.data.own_images import loading
from metaweight.report.own_rows import own_columns
from metaweight.tasks import described, run, tasks
from metaweight.tasks.config import ImageConfig
from metaweight.tasks.image import data as image_data
from metaweight.tasks.image.data import PreparedImages
from metaweight.training.run_folder import RunFolder

TASK = tasks["image"]
TRAIN, META, VALID, TEST = range(40), range(40, 48), range(48, 56), range(56, 64)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    image_data._own.cache_clear()


def prepare(chosen: ImageConfig) -> PreparedImages:
    prepared: PreparedImages = TASK.prepare(chosen)
    return prepared


def csv_options(form: str) -> dict[str, Any]:
    return {"label": "what it shows"} if form == "csv" else {}


def rows_of(form: str, place: str) -> Callable[[dict[str, str]], tuple[Pixels, str]]:
    """How the user looks a row of weights.csv up: the picture, and the class that it was given."""

    def opened(file: Any) -> Pixels:
        return np.asarray(Image.open(file))

    def looked_up(row: dict[str, str]) -> tuple[Pixels, str]:
        number = int(row["row"] or 0)
        if form == "folder":
            return opened(row["file"]), Path(row["file"]).parent.name
        if form in ("csv", "jsonl"):
            line = Path(row["file"]).read_text().split("\n")[number - 1]
            file, label = line.split(",")[:2] if form == "csv" else json.loads(line).values()
            assert file == row["name"]
            return opened(Path(place).parent / file), label
        if form == "parquet":
            import pandas

            cells = pandas.read_parquet(row["file"]).iloc[number - 1]
            return opened(io.BytesIO(cells["content"])), cells["what it shows"]
        if form == "disk":
            saved = datasets.load_from_disk(row["file"].removeprefix("hf:"))[number - 1]
            return np.asarray(saved["picture"]), CLASSES[saved["what it shows"]]
        assert row["file"] == place
        return picture(number - 1), spoilt(TRAIN)[number - 1]

    return looked_up


@pytest.mark.parametrize("form", FORMS)
def test_every_row_that_is_named_is_the_users_own(form: str, tmp_path: Path) -> None:
    place = write(form, tmp_path / "train", TRAIN, spoilt(TRAIN))
    meta = write(form, tmp_path / "meta", META, right(META))
    chosen = config(train=place, meta=meta, **csv_options(form))
    folder = RunFolder.create(tmp_path / "run", {})
    run(chosen, folder)
    rows = read_csv(folder.path / "weights.csv")
    assert len(rows) == len(TRAIN)
    look_up, wrong, images = rows_of(form, place), [], prepare(chosen).images
    for row in rows:
        pixels, label = look_up(row)
        named = row["given_label"]
        assert (CLASSES[int(named)] if form == "idx" else named) == label
        assert np.array_equal(images.train_images[int(row["index"]), 0].numpy(), pixels)
        assert row["flipped"] == ""  # nobody knows
        wrong += [pixels.tobytes()] if label != shown(pixels) else []
    assert sorted(wrong) == sorted(picture(number).tobytes() for number in TRAIN if number % 5 == 0)


def test_a_table_of_pictures_keeps_its_other_columns(tmp_path: Path) -> None:
    place = write("jsonl", tmp_path / "train", TRAIN, spoilt(TRAIN))
    lines = [json.loads(line) for line in Path(place).read_text().split("\n")]
    more = [{"who": f"w{at}", "index": at, "note": None if at % 2 else 0.5} for at in range(len(lines))]
    own = [{**extra, **line} for extra, line in zip(more, lines, strict=True)]
    del own[3]["note"]
    own[5]["image"], own[6]["image"] = "files/gone.bmp", None
    Path(place).write_text("\n".join(map(json.dumps, own)))
    chosen = config(
        train=place,
        meta=write_folder(tmp_path / "meta", META, right(META)),
        label="what it shows",
        probes=0.1,
    )
    folder = RunFolder.create(tmp_path / "run", {})
    run(chosen, folder)
    rows = read_csv(folder.path / "rows.csv")
    columns = ["file", "row", "name", "index", "who", "own_index", "note", "image", "what it shows"]
    assert list(rows[0]) == [*columns, "mean_weight"]
    assert len(rows) == 38
    for row in rows:
        written = own[int(row["row"]) - 1]
        assert (row["who"], row["own_index"]) == (written["who"], str(written["index"]))
        assert row["note"] == ("0.5" if written.get("note") else "")
        assert row["image"] == row["name"] == written["image"]
        assert row["what it shows"] == written["what it shows"]
    kept = own_columns(folder.path, [int(rows[7]["index"])])
    assert kept is not None
    assert kept["who"].to_pylist() == [rows[7]["who"]]


@pytest.mark.parametrize(
    ("form", "label"), [("parquet", "what it shows"), ("disk", "what it shows"), ("idx", ""), ("folder", "")]
)
def test_pictures_that_lie_in_a_table_are_no_column_of_text(form: str, label: str, tmp_path: Path) -> None:
    place = write(form, tmp_path / "train", TRAIN, spoilt(TRAIN))
    images = prepare(config(train=place, teacher="uniform")).images
    assert (list(images.columns), images.label) == ([], label)


def test_the_files_with_wrong_labels_have_the_lowest_weights(tmp_path: Path) -> None:
    train = write_folder(tmp_path / "train", range(120), spoilt(range(120)))
    meta = write_folder(tmp_path / "meta", range(120, 140), right(range(120, 140)))
    folder = RunFolder.create(tmp_path / "run", {})
    run(config(train=train, meta=meta, epochs=12, warmup_epochs=2, teacher="mlp", lr=0.1), folder)
    rows = read_csv(folder.path / "weights.csv")
    weights = torch.tensor([float(row["mean_weight"]) for row in rows])
    wrong = torch.tensor([int(Path(row["file"]).stem) % 5 == 0 for row in rows])
    assert auroc(weights, wrong) > 0.9


def test_all_parts_stand_in_one_numbering_and_tests_apart(tmp_path: Path) -> None:
    chosen = config(
        train=write("csv", tmp_path / "train", TRAIN, spoilt(TRAIN)),
        meta=write_folder(tmp_path / "meta", META, right(META)),
        valid=write("parquet", tmp_path / "valid", VALID, right(VALID)),
        test=write("disk", tmp_path / "test", TEST, right(TEST)),
        label="what it shows",
    )
    prepared = prepare(chosen)
    splits, images, origins = prepared.splits, prepared.images, list(prepared.origins)
    assert splits.train.tolist() == list(range(40))
    assert splits.meta.tolist() == list(range(40, 48))
    assert splits.valid.tolist() == list(range(48, 56))
    assert len(images.test_labels) == 8
    assert images.clean is False
    assert prepared.noise is None
    assert images.classes == CLASSES
    # what a CSV counts are lines, what a Parquet file counts are rows, and a file is the sample itself
    assert str(origins[0]).endswith("list.csv, line 2 (files/0.bmp)")
    assert str(origins[40]) == f"{tmp_path}/meta/dark/040.png"
    assert str(origins[48]).endswith("list.parquet, row 1")
    assert str(images.origins("test")[7]).endswith("saved, row 8")
    outcome = run(chosen)
    assert outcome.figures["accuracy"] >= 0
    assert {"valid_accuracy", "test_accuracy"} <= set(outcome.history.epochs[0])


def test_without_a_test_set_its_figures_are_unknown(tmp_path: Path) -> None:
    train = write_folder(tmp_path / "train", TRAIN, spoilt(TRAIN))
    outcome = run(config(train=train, meta=write_folder(tmp_path / "meta", META, right(META))))
    assert all(math.isnan(outcome.figures[name]) for name in ("accuracy", "accuracy_at_best", "auroc"))
    assert not {"valid_accuracy", "test_accuracy"} & set(outcome.history.epochs[0])


def test_a_column_marks_the_trusted_rows(tmp_path: Path) -> None:
    place = Path(write("csv", tmp_path / "train", TRAIN, right(TRAIN)))
    text = place.read_text().replace('"two\nlines"', "no").replace("/7.bmp,light,no", "/7.bmp,light,X")
    place.write_text(text.replace("/30.bmp,dark,no", "/30.bmp,dark,Yes"))
    prepared = prepare(config(train=str(place), label="what it shows", meta_column="note"))
    assert len(prepared.splits.train) == 38
    assert [prepared.origins[k].name for k in prepared.splits.meta.tolist()] == [
        "files/7.bmp",
        "files/30.bmp",
    ]
    assert "2 rows of" in described(prepared)
    assert "2 of 2 trusted rows are the meta set" in described(prepared)


@pytest.mark.parametrize(
    ("options", "meta", "valid"),
    [({"meta_from_train": True, "meta_size": 6, "valid_size": 4}, 6, 4), ({"teacher": "uniform"}, 2, 0)],
)
def test_trusted_rows_are_drawn_only_where_that_is_said(
    options: dict[str, Any], meta: int, valid: int, tmp_path: Path
) -> None:
    train = write_folder(tmp_path / "train", TRAIN, spoilt(TRAIN))
    with pytest.raises(
        ValueError, match=r"needs trusted rows, 100 or so.*--meta.*choose-trusted.*--meta-from-train"
    ):
        TASK.check(config(train=train))
    prepared = prepare(config(train=train, **options))
    assert (len(prepared.splits.meta), len(prepared.splits.valid)) == (meta, valid)
    assert "drawn out of the training rows, which nobody has checked" in described(prepared)
    named = write_folder(tmp_path / "valid", VALID, right(VALID))
    splits = prepare(replace(config(train=train, **options), valid_size=100, valid=named)).splits
    assert splits.valid.tolist() == list(range(40, 48))
    assert len(splits.meta) == meta
    assert len(splits.train) == 40 - meta


def test_a_class_that_no_trusted_picture_has_would_look_wrong(tmp_path: Path) -> None:
    train = write_folder(tmp_path / "train", range(39), [*right(range(38)), "odd"])
    chosen = config(train=train, meta=write_folder(tmp_path / "meta", META, right(META)))
    with pytest.raises(ValueError, match=r"meta\) have none of class 'odd' \(1 to train\)"):
        prepare(chosen)
    assert prepare(replace(chosen, teacher="uniform")).images.classes == ("dark", "light", "odd")


def test_few_pictures_are_one_batch(tmp_path: Path) -> None:
    train = write_folder(tmp_path / "train", range(6), right(range(6)))
    chosen = config(train=train, meta=write_folder(tmp_path / "meta", META, right(META)), batch_size=100)
    prepared = prepare(chosen)
    assert "a batch holds all 6 training images, fewer than 100" in described(prepared)
    assert len(TASK.sources(chosen, prepared).train.batch(0, 0)) == 6 + len(META)
    apart = replace(chosen, train_on_meta=False)
    assert len(TASK.sources(apart, prepared).train.batch(0, 0)) == 6


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts that were looked for."""
    seen: list[str] = []
    find = loading.find

    def counted(part: str, *rest: Any) -> Any:
        seen.append(part)
        return find(part, *rest)

    monkeypatch.setattr(loading, "find", counted)
    return seen


def test_the_runs_of_a_grid_read_their_pictures_once(tmp_path: Path, count: list[str]) -> None:
    train = write_folder(tmp_path / "train", TRAIN, spoilt(TRAIN))
    chosen = config(train=train, meta=write_folder(tmp_path / "meta", META, right(META)))
    first, second = prepare(chosen), prepare(replace(chosen, seed=1, teacher="uniform"))
    assert count == ["train", "meta"]
    assert first.images is second.images
    assert first.digests == second.digests
