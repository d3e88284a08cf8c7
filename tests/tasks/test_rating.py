"""Rating rows that come after a run: by the folder that it left, and by what is in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_folders
import tiny_texts
import torch
from tiny_rows import rows, write
from torch import nn

import metaweight as mw
from metaweight.core.modes import evaluating
from metaweight.tasks.rating import RATER, load_rater
from metaweight.tasks.rows.data import loader
from metaweight.training.checkpoint import CheckpointError

OPTIONS: dict[str, Any] = {
    "label": "kind",
    "epochs": 4,
    "warmup_epochs": 1,
    "batch_size": 20,
    "teacher_lr": 3e-2,
    "model_options": {"width": 16, "depth": 1},
}


def frame(count: int, seed: int) -> pd.DataFrame:
    table = pd.DataFrame(rows(count, seed, range(0, count, 4)))
    table["day"] = pd.date_range("2024-01-05", periods=count).astype(str)
    return table


@pytest.fixture(scope="module", params=["evidence", "memory", "jury"])
def fit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> mw.Fit:
    folder = tmp_path_factory.mktemp("rating") / request.param
    return mw.fit("tabular-mlp", frame(120, 0), frame(40, 1), teacher=request.param, folder=folder, **OPTIONS)


def test_where_trusted_rows_were_trained_on_no_new_row_is_taken_for_one(tmp_path: Path) -> None:
    """By its position: more new rows than the run had, in another order, have the same weights."""
    fit = mw.fit("tabular-mlp", frame(120, 0), frame(40, 1), folder=tmp_path / "run", **OPTIONS)
    new = frame(200, 2)
    order = np.random.RandomState(0).permutation(200)
    straight = fit.rate(new)["weight"].to_numpy()
    mixed = fit.rate(new.iloc[order].reset_index(drop=True))["weight"].to_numpy()
    assert straight.std() > 0.05  # labels are right, and weights nearly alike
    np.testing.assert_allclose(mixed, straight[order], rtol=1e-5, atol=1e-6)


def test_the_folder_and_the_memory_give_the_same(fit: mw.Fit, tmp_path: Path) -> None:
    new = frame(50, 2)
    place = tmp_path / "new.csv"
    new.to_csv(place, index=False)
    rater = load_rater(fit.folder)
    rated = rater.rate(rater.reader.read(str(place))).frame()
    in_memory = fit.rate(new)
    pd.testing.assert_frame_equal(mw.rate(fit.folder, place), rated)
    pd.testing.assert_frame_equal(mw.rate(fit.folder, new, batch_size=50), in_memory)
    assert rated["weight"].tolist() == in_memory["weight"].tolist()
    assert rated["row"].tolist() == [str(line) for line in range(2, 52)]
    assert rated["suggested_label"].tolist() == fit.predict(new).tolist()
    assert rated["given_label"].tolist() == new["kind"].tolist()
    assert list(rated.columns)[:7] == ["file", "row", "name", "x", "y", "colour", "day"]


def test_training_rows_weigh_as_the_teachers_forward_has_them(fit: mw.Fit) -> None:
    """By hand: one batch of all training rows, the student in eval mode, the teacher of the checkpoint."""
    if fit.teacher == "jury":
        pytest.skip("remembers samples")
    config, prepared = fit.rater.reader.config, fit.prepared  # type: ignore[union-attr]
    task = fit.rater.reader.task  # type: ignore[union-attr]
    reweighter = task.build(config, prepared)
    state = torch.load(fit.folder / "checkpoint.pt")["state"]["reweighter"]
    reweighter.student.module.load_state_dict(state["student"])
    reweighter.teacher.load_state_dict(state["teacher"])
    batch = loader(config, prepared, "train", training=False).batch(0, 0)
    assert len(batch) == 120
    with evaluating(reweighter.student.module), torch.no_grad():
        by_hand = reweighter.teacher(reweighter.student(batch).state(1.0))
    rated = fit.rate(frame(120, 0))["weight"].to_numpy()
    assert np.allclose(rated, by_hand.numpy(), atol=1e-6, rtol=0)
    assert rated.std() > 0.01


def test_batches_and_order_make_no_difference(fit: mw.Fit) -> None:
    new = frame(60, 3)
    order = np.random.default_rng(0).permutation(60)
    whole = fit.rate(new)["weight"].to_numpy()
    shuffled = fit.rate(new.iloc[order])["weight"].to_numpy()
    assert np.allclose(shuffled, whole[order], atol=1e-6, rtol=0)
    for size in (1, 7, 256):
        assert np.allclose(fit.rate(new, batch_size=size)["weight"], whole, atol=1e-6, rtol=0)
    assert whole.std() > 0.01


def test_a_row_without_a_label_has_no_weight(fit: mw.Fit) -> None:
    new = frame(20, 4)
    new.loc[6, "kind"] = None
    rated = fit.rate(new)
    assert len(rated) == 20
    assert rated["weight"].isna().tolist() == [row == 6 for row in range(20)]
    assert rated["suggested_label"][6] == ""
    others = new.drop(index=6)
    assert rated["weight"].drop(6).tolist() == fit.rate(others)["weight"].tolist()


def test_a_class_that_the_run_does_not_know_is_named_with_its_row(fit: mw.Fit) -> None:
    new = frame(20, 4)
    new.loc[6, "kind"] = "bird"
    with pytest.raises(ValueError, match=r"row 7: this new row has the label 'bird'.*They have 'cat', 'dog'"):
        fit.rate(new)


def test_a_column_that_is_missing_is_named(fit: mw.Fit) -> None:
    with pytest.raises(ValueError, match="new rows has no column 'x', which the training rows have"):
        fit.rate(frame(20, 4).drop(columns="x"))
    with pytest.raises(ValueError, match="new rows has no column 'kind'"):
        fit.rate(frame(20, 4).drop(columns="kind"))


def test_a_damaged_rater_is_refused(fit: mw.Fit, tmp_path: Path) -> None:
    for name in ("manifest.json", RATER):
        (tmp_path / name).write_bytes((fit.folder / name).read_bytes())
    content = bytearray((tmp_path / RATER).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / RATER).write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_rater(tmp_path)


def test_the_rater_needs_neither_data_nor_checkpoint(fit: mw.Fit, tmp_path: Path) -> None:
    for name in ("manifest.json", RATER):
        (tmp_path / name).write_bytes((fit.folder / name).read_bytes())
    place = write(tmp_path / "new.jsonl", frame(20, 4).to_dict("records"))
    rater = load_rater(tmp_path)
    weights = rater.rate(rater.reader.read(str(place))).weights
    assert weights.tolist() == fit.rate(frame(20, 4))["weight"].tolist()


def test_numbers_and_several_labels() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(160, 3))
    number = x.sum(axis=1) + 0.01 * draw.normal(size=160)
    several = ["; ".join(name for name, has in zip("abc", row > 0, strict=True) if has) for row in x]
    for y in (number, np.array(several, dtype=object)):
        options = {**OPTIONS, "label": None, "target": "number" if y is number else "several"}
        fit = mw.fit("tabular-mlp", (x[:100], y[:100]), (x[100:130], y[100:130]), **options)
        rated = fit.rate((x[130:], y[130:]))
        assert rated["weight"].isna().tolist() == [cell == "" for cell in y[130:]]
        assert rated["weight"].std() > 0
        reversed_ = fit.rate((x[130:][::-1], y[130:][::-1]))["weight"].to_numpy()[::-1]
        assert np.allclose(rated["weight"], reversed_, atol=1e-6, rtol=0, equal_nan=True)


def test_a_module_of_ones_own_rates_in_memory() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(160, 4, generator=draw)
    y = (x.sum(dim=1) > 0).long()
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    fit = mw.fit(module, (x[:100], y[:100]), (x[100:130], y[100:130]), taps=("1",), epochs=3, warmup_epochs=1)
    wrong = y[130:].clone()
    wrong[::3] = 1 - wrong[::3]
    rated = fit.rate((x[130:], wrong))["weight"].to_numpy()
    assert len(rated) == 30
    assert rated[::3].mean() < np.delete(rated, np.s_[::3]).mean()
    with pytest.raises(ValueError, match="module"):
        load_rater(fit.folder)


def test_a_run_of_a_teacher_that_cannot_rate_is_refused_in_words() -> None:
    fit = mw.fit("tabular-mlp", frame(60, 0), frame(40, 1), teacher="l2rw", **OPTIONS)
    assert not (fit.folder / RATER).exists()
    for call in (lambda: fit.rate(frame(20, 2)), lambda: load_rater(fit.folder)):
        with pytest.raises(ValueError, match=r"'l2rw' cannot rate .* take evidence"):
            call()


def test_a_pretrained_model_of_texts_rates_from_its_folder(tmp_path: Path) -> None:
    model = tiny_folders.folder_of("SequenceClassification", tmp_path / "model")
    train, meta, new = (
        pd.DataFrame(tiny_texts.texts(count, first)) for count, first in ((40, 0), (16, 100), (12, 200))
    )
    options = {"label": "kind", "epochs": 2, "warmup_epochs": 1, "batch_size": 20, "teacher": "memory"}
    fit = mw.fit(f"path:{model}", train, meta, folder=tmp_path / "run", **options)
    rated = mw.rate(tmp_path / "run", new)
    assert rated["weight"].tolist() == fit.rate(new)["weight"].tolist()
    assert rated["suggested_label"].tolist() == fit.predict(new).tolist()
    assert np.allclose(
        mw.rate(tmp_path / "run", new, batch_size=1)["weight"], rated["weight"], atol=1e-5, rtol=0
    )
