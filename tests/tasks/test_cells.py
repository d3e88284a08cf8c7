"""What a row looks like, column by column, for who asks about single rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_translation
import torch

from metaweight.tasks import tasks
from metaweight.tasks.base import InColumns
from metaweight.tasks.config import TranslationConfig
from metaweight.tasks.config.tokens import TokensConfig


@pytest.mark.parametrize("part", ["train", "meta", "valid", "test"])
def test_sentence_pairs_by_the_positions_of_batches(part: str, tmp_path: Path) -> None:
    files = {name: str(path) for name, path in tiny_translation.own_files(tmp_path).items()}
    config = TranslationConfig(**{**tiny_translation.OPTIONS, **files}, languages=("de", "en"))
    task = tasks["translation"]
    prepared = task.prepare(config)
    lines = Path(files[part]).read_text(encoding="utf-8").splitlines()
    first = 60 if part == "meta" else 0
    found = task.cells(prepared, part, [first + 5, first + 2])
    assert [f"{one['source']}\t{one['target']}" for one in found] == [lines[5], lines[2]]
    if part == "meta":
        pool = task.pool(config, prepared)
        assert torch.equal(pool.meta, torch.arange(60, 76))


def test_tokens_stand_side_by_side(tmp_path: Path) -> None:
    def write(name: str, count: int) -> str:
        path = tmp_path / f"{name}.jsonl"
        row = '{"tokens": ["%s", "sees", "Ulm"], "tags": ["O", "O", "B-LOC"]}\n'
        path.write_text("".join(row % f"{name}{number}" for number in range(count)), encoding="utf-8")
        return str(path)

    files = {"train": write("train", 30), "meta": write("meta", 10), "test": write("test", 6)}
    config = TokensConfig(**files)
    task = tasks["tokens"]
    prepared = task.prepare(config)
    assert isinstance(task, InColumns)
    found: list[dict[str, Any]] = task.cells(prepared, "test", [4, 0])
    assert [list(one.values()) for one in found] == [["test4 sees Ulm"], ["test0 sees Ulm"]]
    at = int(prepared.splits.meta[3])
    assert list(task.cells(prepared, "meta", [at])[0].values()) == ["meta3 sees Ulm"]


def test_pictures_have_no_columns() -> None:
    assert not isinstance(tasks["image"], InColumns)
