"""metaweight.fit: data of every form, and what comes out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from slowly import slowly
from tiny_folders import folder_of
from tiny_rows import rows, write
from tiny_texts import Tagged, sentences, texts, write_bio
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import metaweight as mw
from metaweight.core.csv_text import read_csv
from metaweight.core.weights import auroc

WRONG = tuple(range(5, 150, 4))
SHORT = {"epochs": 6, "warmup_epochs": 1, "batch_size": 20, "meta_batch_size": 20}
SMALL = {**SHORT, "epochs": 7, "lr": 0.03, "model_options": {"width": 16, "depth": 1}}


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    made = {"train": rows(150, 0, WRONG), "meta": rows(50, 1), "test": rows(80, 2)}
    return {part: pd.DataFrame(table).astype({"x": float, "y": float}) for part, table in made.items()}


def numbers(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return frame[["x", "y"]].to_numpy(dtype=np.float32), (frame["kind"] == "cat").to_numpy().astype(int)


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))


@pytest.mark.parametrize("form", ["frames", *slowly("pairs")])
def test_files_frames_and_pairs_give_the_same_numbers(
    form: str, frames: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    own = {"train": rows(150, 0, WRONG), "meta": rows(50, 1), "test": rows(80, 2)}
    files = [str(write(tmp_path / f"{part}.csv", table)) for part, table in own.items()]
    pairs = [(frame.drop(columns="kind"), frame["kind"].to_numpy()) for frame in frames.values()]
    result = mw.fit("tabular-mlp", *files, label="kind", **SMALL)
    if form == "frames":
        other = mw.fit("tabular-mlp", *frames.values(), label="kind", **SMALL)
    else:
        other = mw.fit("tabular-mlp", *pairs, **SMALL)
    assert np.array_equal(result.weights, other.weights)
    assert result.figures["accuracy"] == other.figures["accuracy"]
    assert result.figures["accuracy"] > 80


def test_weights_and_suspects_are_of_the_rows_that_were_given(frames: dict[str, pd.DataFrame]) -> None:
    train = frames["train"].set_axis([f"key{n}" for n in range(150)])
    train.loc["key7", "kind"] = None
    result = mw.fit("tabular-mlp", train, frames["meta"], label="kind", **SMALL)
    assert result.weights.shape == (150,)
    assert np.flatnonzero(np.isnan(result.weights)).tolist() == [7]
    found = result.suspects()
    assert len(found) == 149
    for _, row in found.head(20).iterrows():
        place = int(row["row"]) - 1
        assert row["name"] == f"key{place}"
        assert row["x"] == train["x"].iloc[place]
        assert row["given_label"] == train["kind"].iloc[place]
        assert row["mean_weight"] == pytest.approx(result.weights[place])
    wrong = torch.tensor([n in WRONG for n in range(150)])[~np.isnan(result.weights)]
    assert auroc(torch.tensor(result.weights[~np.isnan(result.weights)]), wrong) > 0.8


@pytest.mark.slow
def test_a_missing_cell_of_any_kind_is_empty_in_the_files(
    frames: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    """NA of pandas is neither equal to itself nor not."""
    train, meta = (
        frame.assign(
            count=pd.array([None, *range(len(frame) - 1)], dtype="Int64"),
            day=pd.to_datetime([None, *["2020-01-02"] * (len(frame) - 1)]),
        )
        for frame in (frames["train"], frames["meta"])
    )
    train.loc[1, "x"] = None
    mw.fit("tabular-mlp", train, meta, label="kind", folder=tmp_path / "run", **{**SMALL, "epochs": 2})
    first, second, third = read_csv(tmp_path / "run" / "rows.csv")[:3]
    assert (first["count"], first["day"]) == ("", "")
    assert (second["x"], second["count"]) == ("", "0")
    assert (third["count"], third["day"]) == ("1", "2020-01-02 00:00:00")


def test_marked_rows_are_trusted(frames: dict[str, pd.DataFrame]) -> None:
    both = pd.concat([frames["meta"].assign(ok=True), frames["train"].assign(ok=False)])
    result = mw.fit("tabular-mlp", both, label="kind", meta_column="ok", **SMALL)
    assert (result.weights[:50] == 1).all()
    assert result.weights[50:].std() > 0.05


def test_a_suspect_is_found_where_it_was_given(tmp_path: Path, frames: dict[str, pd.DataFrame]) -> None:
    """By ``index`` and by ``row``, where trusted rows have been taken out of the training rows before it."""
    whole = pd.concat([frames["meta"], frames["train"]], ignore_index=True)
    whole.to_csv(tmp_path / "data.csv", index=False)
    places = [7, 3, *range(20, 58)]
    trusted = whole.iloc[places].assign(file=str(tmp_path / "data.csv"), row=[place + 2 for place in places])
    trusted.to_csv(tmp_path / "trusted.csv", index=False)
    result = mw.fit(
        "tabular-mlp", str(tmp_path / "data.csv"), str(tmp_path / "trusted.csv"), label="kind", **SHORT
    )
    found = result.suspects()
    assert len(found) == len(whole) - len(places)
    assert not set(found["index"]) & set(places)
    assert found["given_label"].tolist() == whole["kind"].iloc[found["index"]].tolist()
    for column in ("x", "y"):
        assert found[column].tolist() == whole[column].iloc[found["index"]].astype(str).tolist()
    assert (found["row"] - 2).tolist() == found["index"].tolist()
    assert np.array_equal(result.weights[found["index"]], found["mean_weight"])


@pytest.mark.parametrize("form", ["loaders", *slowly("data sets", "frames")])
def test_a_module_of_ones_own_in_every_form_of_data(form: str, frames: dict[str, pd.DataFrame]) -> None:
    train, meta, test = (numbers(frame) for frame in frames.values())
    sets = [TensorDataset(*map(torch.from_numpy, pair)) for pair in (train, meta, test)]
    options = {**SHORT, "taps": ("1",), "lr": 0.01}
    loader = DataLoader(sets[0], batch_size=20, shuffle=True)
    given = {
        "data sets": sets,
        "loaders": (loader, DataLoader(sets[1], batch_size=7), sets[2]),
        "frames": [
            frame.assign(kind=(frame["kind"] == "cat").astype(int))[["x", "y", "kind"]]
            for frame in frames.values()
        ],
    }
    own = {"label": "kind"} if form == "frames" else {}
    found = mw.fit(module(), *given[form], **options, **own)
    arrays = mw.fit(module(), train, meta, test, **options)
    assert found.figures["accuracy"] > 80
    assert np.array_equal(found.weights, arrays.weights)


def test_mappings_and_numbers_and_several_labels(frames: dict[str, pd.DataFrame]) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, *, values: torch.Tensor) -> torch.Tensor:
            return self.layer(values)

    (x, labels), (other, right) = (numbers(frames[part]) for part in ("train", "meta"))
    train = [
        {"values": torch.tensor(row), "labels": int(label)} for row, label in zip(x, labels, strict=True)
    ]
    meta = [
        {"values": torch.tensor(row), "labels": int(label)} for row, label in zip(other, right, strict=True)
    ]
    assert mw.fit(Named(), train, meta, **SHORT).weights.shape == (150,)
    line = nn.Linear(2, 1)
    result = mw.fit(
        line, (x, x.sum(1)), (other, other.sum(1)), (other, other.sum(1)), **{**SHORT, "lr": 0.05}
    )
    assert result.figures["r2"] > 0.5
    both = [np.stack([(v[:, 0] > 0), (v[:, 1] > 0)], axis=1).astype(np.float32) for v in (x, other)]
    result = mw.fit(module(), (x, both[0]), (other, both[1]), (other, both[1]), **SHORT)
    assert result.figures["f1"] is not None


def test_what_comes_out_can_be_used(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    out = tmp_path / "run"
    result = mw.fit("tabular-mlp", *frames.values(), label="kind", folder=out, probes=0.1, **SMALL)
    assert torch.equal(torch.get_rng_state(), before)
    said = result.predict(frames["test"].drop(columns="kind"))
    assert float((said == frames["test"]["kind"]).mean() * 100) == pytest.approx(result.figures["accuracy"])
    result.save(tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert state.keys() == result.model.state_dict().keys()
    page = result.report(tmp_path / "page.html").read_text()
    assert "<html" in page
    assert len(read_csv(out / "weights.csv")) == 150
    assert result.sentences()
    assert "accuracy" in repr(result)


def test_texts_as_frames_and_as_lists() -> None:
    wrong = range(3, 90, 7)
    train, meta, test = (pd.DataFrame(texts(*which)) for which in ((90, 0, wrong), (30, 1000), (30, 2000)))
    options = {**SHORT, "epochs": 10, "lr": 0.03}
    result = mw.fit("text-bag", train, meta, test, label="kind", **options)
    assert auroc(torch.tensor(result.weights), torch.tensor([n in wrong for n in range(90)])) > 0.9
    count = int(result.suspects()["is_suspect"].sum())
    assert count
    assert f"\n{count} of 90 training rows look wrong: suspects() lists them.\n" in str(result)
    assert result.predict(test["text"].tolist()).tolist() == test["kind"].tolist()
    assert result.predict_proba(["apple and pear", "", "never seen"]).sum(1) == pytest.approx([1, 1, 1])
    with pytest.raises(TypeError, match=r"suspects\(\) lists them"):
        result.suspect_tokens()
    pairs = [(frame["text"].tolist(), frame["kind"].tolist()) for frame in (train, meta, test)]
    assert np.array_equal(mw.fit("text-bag", *pairs, **options).weights, result.weights)


def tagged(rows: list[Tagged]) -> pd.DataFrame:
    """Sentences as a frame of lists."""
    columns = [{"tokens": [word for word, _ in row], "tags": [tag for _, tag in row]} for row in rows]
    return pd.DataFrame(columns)


@pytest.mark.parametrize("form", ["frames", *slowly("lists")])
def test_sentences_as_files_frames_and_lists(form: str, tmp_path: Path) -> None:
    wrong = (3, 10, 11, 40)
    own = {"train": sentences(60, 0, wrong), "meta": sentences(20, 1000), "test": sentences(20, 2000)}
    files = [write_bio(tmp_path / f"{part}.bio", rows) for part, rows in own.items()]
    frames = [tagged(rows) for rows in own.values()]
    pairs = [(frame["tokens"].tolist(), frame["tags"].tolist()) for frame in frames]
    other = frames if form == "frames" else pairs
    results = [mw.fit("tagger-window", *data, **{**SHORT, "epochs": 8}) for data in (files, other)]
    assert np.array_equal(results[0].weights, results[1].weights)
    assert results[0].figures["f1"] == results[1].figures["f1"] == 100
    assert set(results[0].weights.argsort()[: len(wrong)]) == set(wrong)
    first = results[1].suspects().iloc[0]
    if form == "frames":  # lists have no columns
        assert first["tags"].split() == frames[0]["tags"][first["index"]]
    token = results[1].suspect_tokens().iloc[0]
    assert token["token"] == frames[0]["tokens"][token["row"] - 1][token["place"] - 1]
    assert token["index"] in wrong
    assert (token["label"], token["suggested"]) in (("O", "B-PER"), ("B-PER", "O"))
    words = [["Ann", "eats"], ["Bob", "eats"]]
    assert results[1].predict(words).tolist() == [["B-PER", "O"]] * 2
    assert [own.shape for own in results[1].predict_proba([["Ann", "eats"], ["Bob"]])] == [(2, 2), (1, 2)]
    for strange, message in ((["Ann eats"], "no list of words"), ([["Ann"], []], "row 2: .* no token")):
        with pytest.raises(ValueError, match=message):
            results[0].predict(strange)


@pytest.mark.parametrize("form", ["file", *slowly("frame", "pair")])
def test_a_folder_is_of_texts_or_of_tokens_as_the_data_are(form: str, tmp_path: Path) -> None:
    frames = {"Sequence": pd.DataFrame(texts(40)), "Token": tagged(sentences(30))}
    for kind, frame in frames.items():
        model = folder_of(f"{kind}Classification", tmp_path / kind)
        column, label = frame.columns
        frame.to_json(tmp_path / f"{kind}.jsonl", orient="records", lines=True)
        pair = frame[column].tolist(), frame[label].tolist()
        data = {"file": tmp_path / f"{kind}.jsonl", "frame": frame, "pair": pair}[form]
        own = {} if form == "pair" else {"label": label}
        result = mw.fit(f"path:{model}", data, data, **SHORT, **own, lr=0.01)
        assert result.prepared.targets.kind == ("tokens" if kind == "Token" else "classes")
        assert len(result.predict(pair[0])) == len(frame)
        if kind == "Token":
            with pytest.raises(ValueError, match="row 1: the model has room for 10 of the 11 tokens"):
                result.predict([["Ann"] * 11])


def test_a_mistake_is_said(frames: dict[str, pd.DataFrame]) -> None:
    train, meta = frames["train"], frames["meta"]
    cases = [
        (("tabular-mpl", train, meta), {"label": "kind"}, ValueError, "Did you mean 'tabular-mlp'"),
        (("tabular-mlp", train, meta), {"label": "knid"}, ValueError, "Did you mean 'kind'"),
        (("tabular-mlp", train, meta), {"label": "kind", "epoch": 3}, TypeError, "epochs"),
        (("tabular-mlp", train), {"label": "kind"}, ValueError, "needs trusted rows"),
        (("tabular-mlp", (train[["x"]], train["kind"][:9]), meta), {}, ValueError, "150 rows and y 9"),
        (("tabular-mlp", 5, meta), {}, TypeError, "got a int"),
        ((module(), (train[["colour"]], [0] * 150), meta), {}, ValueError, "a module takes numbers"),
        ((module(), (train[["x", "y"]], train["kind"]), meta), {}, ValueError, "write classes as 0"),
        (
            (module(), (train[["x", "y"]], [5] * 150), (meta[["x", "y"]], [0] * 50)),
            {},
            ValueError,
            "class 5; the module gives 2",
        ),
    ]
    for arguments, options, kind, message in cases:
        with pytest.raises(kind, match=message):
            mw.fit(*arguments, **options)


def test_a_plain_run_beside_says_what_is_gained(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    """A module is trained plainly from a copy of what it was before."""
    parts = [numbers(frames[part]) for part in ("train", "meta", "test")]
    own: dict[str, Any] = {**SHORT, "lr": 0.02, "taps": ("1",)}
    result = mw.fit(module(), *parts, teacher="mw-net", plain_run=True, folder=tmp_path / "run", **own)
    alone = mw.fit(module(), *parts, teacher="uniform", **own)
    assert result.gain is not None
    assert result.gain.plain == alone.figures["accuracy"]
    assert result.gain.reached == result.figures["accuracy"] != result.gain.plain
    assert "with plain training on the same rows" in str(result)
    assert "Beside plain training" in result.report(tmp_path / "page.html").read_text()
    assert alone.gain is None
    with pytest.raises(ValueError, match="plain_run compares on test rows"):
        mw.fit("tabular-mlp", frames["train"], frames["meta"], label="kind", plain_run=True, **SMALL)
