"""steps.jsonl has whole lines, whatever became of a write, and a damaged one is named."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from full_disk import full_after

from metaweight.core.atomic import WriteError
from metaweight.training.step_log import StepLog


def filled(path: Path, *steps: int) -> StepLog:
    log = StepLog(path)
    for step in steps:
        log.append({"step": step, "loss": 1 / step})
    return log


@pytest.mark.parametrize("room", [0, 1, 30, 1000])
def test_a_failed_write_leaves_whole_lines_and_forgets_no_row(room: int, tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    filled(path, 1, 2).flush()
    before = path.read_bytes()
    log = filled(path, *range(3, 40))
    told = rf"{path} cannot be written: File too large; free space there"
    with full_after(len(before) + room), pytest.raises(WriteError, match=told):
        log.flush()
    assert path.read_bytes() == before
    assert [row["step"] for row in log.read()] == list(range(1, 40))


def test_a_log_that_is_let_go_on_a_full_disk_says_nothing(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "steps.jsonl"
    filled(path, 1).flush()
    before = path.read_bytes()
    with full_after(len(before)):
        log = filled(path, 2)
        del log
        gc.collect()
    assert path.read_bytes() == before
    assert not recwarn.list


def test_a_closed_log_writes_once(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    log = filled(path, 1)
    log.close()
    before = path.read_bytes()
    del log
    gc.collect()
    assert path.read_bytes() == before == b'{"step": 1, "loss": 1.0}\n'


@pytest.mark.parametrize(
    "line", [b'{"step": 2', b"[1]", b'{"loss": 1}', b'{"step": "2"}', b"\xff", b"\x00", b"null"]
)
def test_a_damaged_line_is_named(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    for call in (StepLog(path).read, lambda: StepLog(path).truncate(1)):
        with pytest.raises(ValueError, match=rf"{path}, line 2 is damaged"):
            call()
