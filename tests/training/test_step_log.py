"""steps.jsonl has whole lines, whatever became of a write, and a damaged one is named."""

from __future__ import annotations

import gc
import gzip
from collections.abc import Iterable
from pathlib import Path

import pytest
from full_disk import full_after

from metaweight.core.atomic import WriteError
from metaweight.training import step_log
from metaweight.training.step_log import StepLog


def filled(path: Path, *steps: int) -> StepLog:
    log = StepLog(path)
    fill(log, steps)
    return log


def fill(log: StepLog, steps: Iterable[int]) -> None:
    for step in steps:
        log.append({"step": step, "loss": 1 / step})


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


def steps(log: StepLog) -> list[int]:
    return [row["step"] for row in log.read()]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for some twenty rows."""
    monkeypatch.setattr(step_log, "ROOM", 600)
    monkeypatch.setattr(step_log, "PENDING", 5)


@pytest.mark.usefixtures("small")
def test_a_long_log_is_packed_and_reads_as_one(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    log = filled(path, *range(1, 201))
    assert steps(log) == list(range(1, 201))
    assert path.stat().st_size < 1200
    archives = sorted(tmp_path.glob("steps-*.jsonl.gz"))
    assert len(archives) > 2
    assert sum(file.stat().st_size for file in archives) < 200 * 25
    assert steps(StepLog(path)) == list(range(1, 201))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("after", [0, 1, 30, 77, 150, 199, 200, 999])
def test_a_packed_log_is_cut_anywhere_and_goes_on(after: int, tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    filled(path, *range(1, 201)).flush()
    log = StepLog(path)
    log.truncate(after)
    kept = min(after, 200)
    assert steps(log) == list(range(1, kept + 1))
    fill(log, range(kept + 1, 301))
    assert steps(log) == list(range(1, 301))


@pytest.mark.usefixtures("small")
def test_a_crash_between_packing_and_emptying_writes_no_row_twice(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    log = filled(path, *range(1, 20))
    log.flush()
    loose = path.read_bytes()
    more = filled(path, *range(20, 30))
    more.flush()
    assert (tmp_path / "steps-1.jsonl.gz").is_file()
    packed = gzip.decompress((tmp_path / "steps-1.jsonl.gz").read_bytes())
    assert packed.startswith(loose)
    path.write_bytes(packed)  # as if the process had died before steps.jsonl was emptied
    last = packed.count(b"\n")
    again = StepLog(path)
    assert steps(again) == list(range(1, last + 1))
    fill(again, range(last + 1, 80))
    assert steps(again) == list(range(1, 80))


@pytest.mark.usefixtures("small")
def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    log = filled(path, *range(1, 101))
    log.flush()
    archive = tmp_path / "steps-2.jsonl.gz"
    archive.write_bytes(archive.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"steps-2\.jsonl\.gz is damaged"):
        log.read()
