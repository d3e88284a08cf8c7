"""A folder is one process's: who holds it is said, and a lock whose process is gone is taken over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaweight.core.lock import HOLDER, LOCK, LockedError, only_one

HOLD = """
import sys, time
from pathlib import Path
from metaweight.core.lock import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_nothing_is_left_after_a_normal_end_or_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with only_one(tmp_path) as left:
            assert left is None
            assert {path.name for path in tmp_path.iterdir()} == {LOCK, HOLDER}
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError), only_one(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_the_second_is_refused_in_the_same_process_too(tmp_path: Path) -> None:
    with only_one(tmp_path):
        with pytest.raises(LockedError, match=f"process {os.getpid()} on"), only_one(tmp_path):
            pass
        assert (tmp_path / HOLDER).is_file()


def test_another_process_is_named_and_its_lock_taken_over_when_it_is_gone(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    who = rf"process {other.pid} on {socket.gethostname()}, since 20\d\d-"
    told = rf"is in use: {who}.*stop it \(kill {other.pid}\)"
    with pytest.raises(LockedError, match=told), only_one(tmp_path):
        pass
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / HOLDER).is_file()
    with only_one(tmp_path) as left:
        assert left is not None
        assert f"the lock of process {other.pid}" in left
        assert "is taken over: that process is gone" in left
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": "x"}', b"\xff"])
def test_what_is_written_there_does_not_decide(content: bytes, tmp_path: Path) -> None:
    (tmp_path / HOLDER).write_bytes(content)
    with only_one(tmp_path) as left:
        assert left is None
        (tmp_path / HOLDER).write_bytes(content)
        with pytest.raises(LockedError, match="is in use; only one process"), only_one(tmp_path):
            pass
