"""The tasks of labelled rows keep the contract of a task, and name the user's rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from slowly import slowly

from metaweight.cli.main import main
from metaweight.core.csv_text import read_csv
from metaweight.tasks.config import RowsConfig, TabularConfig, TextConfig, TokensConfig
from metaweight.tasks.rows.results import ROWS, write_columns
from metaweight.testing import check_task
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights

SMALL: dict[str, Any] = {"epochs": 2, "warmup_epochs": 1, "meta_size": 20, "valid_size": 20}
GOOD = ("good", "lovely", "fine", "bright", "warm", "happy")
BAD = ("bad", "awful", "poor", "dull", "cold", "sad")
WRONG = (4, 9, 17, 30, 51)


@pytest.mark.parametrize(
    "config",
    [
        TabularConfig(data="diabetes", noise="shuffled", **SMALL),
        *slowly(TabularConfig(target="one-logit", probes=0.1, **SMALL)),
        *slowly(
            TextConfig(train_size=80, model="text-transformer", pieces="unigram", vocab_size=200, **SMALL),
            TokensConfig(train_size=60, unit="token", **SMALL),
        ),
    ],
    ids=lambda config: f"{config.task}-{config.model}-{config.data}-{getattr(config, 'unit', config.target)}",
)
def test_the_contract_is_kept(config: RowsConfig) -> None:
    check_task(config.task, config)


def sentences(count: int, wrong: tuple[int, ...] = ()) -> list[tuple[str, str]]:
    """Text and label, the wrong one in the rows ``wrong``."""
    made = []
    for number in range(count):
        words = (GOOD, BAD)[number % 2]
        text = f"it was a {words[number % 6]} and {words[(number + 2) % 6]} day, number {number}"
        made.append((text, ("up", "down")[(number % 2) ^ (number in wrong)]))
    return made


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_text_is_named_by_its_line(ending: str, tmp_path: Path) -> None:
    rows = sentences(60, WRONG)
    train = tmp_path / f"train.{ending}"
    if ending == "csv":
        lines = ["text,label", "", *(f'"{text}",{label}' for text, label in rows)]
    else:
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        lines.insert(7, "")
    train.write_text("\n".join(lines) + "\n")
    meta = tmp_path / "meta.csv"
    meta.write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in sentences(30)))
    out = tmp_path / "run"
    files = ["--train", str(train), "--meta", str(meta), "--out", str(out)]
    assert main(["train", *files, "--epochs", "3", "--warmup-epochs", "1", "--threads", "1"]) == 0
    kept = read_csv(out / "rows.csv")
    assert len(kept) == 60
    whole = ["", *lines]
    for row, (text, label) in zip(kept, rows, strict=True):
        assert row["text"] == text
        assert row["label"] == label
        assert text in whole[int(row["row"])]


BIO = """# two sentences and one more

Anna\tB-PER
left\tO
Rome\tB-LOC

It\tO
rained\tO

Karl\tB-PER
stayed\tO
"""


def test_a_sentence_of_tokens_is_named_by_the_line_that_it_begins_at(tmp_path: Path) -> None:
    train, meta, out = tmp_path / "train.bio", tmp_path / "meta.bio", tmp_path / "run"
    train.write_text(BIO * 8)
    meta.write_text(BIO * 3)
    files = ["--train", str(train), "--meta", str(meta), "--out", str(out)]
    assert main(["train", *files, "--epochs", "2", "--warmup-epochs", "1", "--threads", "1"]) == 0
    lines = ["", *train.read_text().splitlines()]
    tokens = read_csv(out / "tokens.csv")
    assert len(tokens) == 8 * 7
    for row in tokens:
        assert lines[int(row["row"]) + int(row["place"]) - 1] == f"{row['token']}\t{row['label']}"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.bio", "Anna\tB-PER\nleft\n", "train.bio, line 2: 1 field, expected 2"),
        ("train.bio", "", "train.bio is empty"),
        ("train.csv", "text,label\n,a\n,b\n", "train.csv, line 2: the text is empty"),
        ("train.csv", "a,b,label\n1,2,x\n1,3,y\n", "which column holds the text?"),
    ],
)
def test_mistakes_are_named(
    name: str, content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(content)
    task = "tokens" if name.endswith("bio") else "text"
    out = tmp_path / "run"
    files = ["--train", str(tmp_path / name), "--meta", str(tmp_path / name), "--out", str(out)]
    assert main(["train", "--task", task, *files]) == 2
    captured = capsys.readouterr()
    assert message in " ".join((captured.out + captured.err).split())
    assert not out.exists()


def test_no_column_of_the_users_goes_for_its_name(tmp_path: Path) -> None:
    samples = SampleWeights(torch.arange(2), torch.ones(1, 2), torch.ones(1, 2))
    names = ["index", "own_index", "x", "own_x", "mean_weight"]
    columns = [["a", "b"], ["c", "d"], [1, 2], [3, 4], ["e", "f"]]
    write_columns(names, columns, samples, RunFolder.create(tmp_path / "run", {}))
    head, first, _ = (tmp_path / "run" / ROWS).read_text().splitlines()
    assert head == "file,row,name,index,own_own_index,own_index,x,own_x,own_mean_weight,mean_weight"
    assert first == ",,,0,a,c,1,3,e,1"
