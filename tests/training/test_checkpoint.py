"""A checkpoint is loaded as it was written, or refused with its file and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from full_disk import full_after

from metaweight.core.atomic import WriteError
from metaweight.training import checkpoint
from metaweight.training.checkpoint import CheckpointError

STATE = {"weights": torch.arange(300.0), "position": [2, 0], "name": "plain"}
SHAPES = {"student.weight": [300], "epochs": 4}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "checkpoint.pt"
    checkpoint.save(file, STATE, SHAPES)
    return file


def test_a_changed_byte_anywhere_or_a_missing_end_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    assert torch.equal(checkpoint.load(path, SHAPES)["weights"], STATE["weights"])
    told = rf"{path} is (damaged|truncated).*put a copy of it back, or delete it, and the run starts over"
    for place in [*range(0, len(whole), 61), *range(len(whole) - 40, len(whole))]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match=told):
            checkpoint.load(path, SHAPES)
        path.write_bytes(whole[:place])
        with pytest.raises(CheckpointError, match=told):
            checkpoint.load(path, SHAPES)
    path.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError, match=told):
        checkpoint.load(path, SHAPES)


def test_checkpoints_of_before_there_were_seals_are_read(path: Path) -> None:
    torch.save({"format": 1, "shapes": SHAPES, "state": STATE}, path)
    assert checkpoint.load(path, SHAPES)["name"] == "plain"


def test_one_of_another_run_is_refused_where_both_say_which(path: Path) -> None:
    checkpoint.save(path, STATE, {**SHAPES, checkpoint.RUN: "a"})
    assert checkpoint.load(path, {**SHAPES, checkpoint.RUN: "a"})["name"] == "plain"
    assert checkpoint.load(path, SHAPES)["name"] == "plain"
    with pytest.raises(CheckpointError, match=rf"{path} is the checkpoint of another run"):
        checkpoint.load(path, {**SHAPES, checkpoint.RUN: "b"})


@pytest.mark.parametrize("room", [0, 200, 1500, 3000])
def test_a_full_disk_is_said_and_the_last_checkpoint_kept(room: int, path: Path) -> None:
    before = path.read_bytes()
    told = rf"{path} cannot be written: File too large; free space there"
    with full_after(room), pytest.raises(WriteError, match=told):
        checkpoint.save(path, {**STATE, "more": torch.rand(5000)}, SHAPES)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == {path.name: before}


def test_what_is_kept_is_the_newest_whole_one(path: Path) -> None:
    folder = path.parent
    assert checkpoint.kept(folder / "absent") == "no checkpoint was written yet, so the run starts over"
    assert checkpoint.kept(folder) == "the last checkpoint, of epoch 2, is whole"
    stage = folder / "stages" / "plain" / "checkpoint.pt"
    stage.parent.mkdir(parents=True)
    checkpoint.save(stage, {**STATE, "position": [0, 7]}, SHAPES)
    assert checkpoint.kept(folder) == "the last checkpoint, after batch 7 of epoch 1, is whole"
    stage.write_bytes(b"torn")
    assert f"{stage} is truncated or no checkpoint" in checkpoint.kept(folder)
