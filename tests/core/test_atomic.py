"""What cannot be written is named and stays as it was; what the dead left half written goes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metaweight.core.atomic import WriteError, dead_parts, part_of, remove_parts, whole_file, writing


@pytest.mark.parametrize(
    ("number", "way"),
    [
        (errno.ENOSPC, "free space there"),
        (errno.EDQUOT, "free space there"),
        (errno.EROFS, "make it writable, or choose another place"),
        (errno.EACCES, "make it writable, or choose another place"),
        (errno.EIO, ""),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_file_that_cannot_be_written_keeps_what_it_was(
    number: int, way: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a [b].txt"
    path.write_text("before")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(WriteError) as raised, whole_file(path) as file:
        file.write(b"after")
    assert str(raised.value) == f"{path} cannot be written: {os.strerror(number)}{'; ' * bool(way)}{way}"
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a [b].txt": "before"}


def test_the_first_to_name_a_file_is_right_and_other_errors_pass(tmp_path: Path) -> None:
    raised = pytest.raises(WriteError, match=r"inner cannot be")
    with raised, writing(tmp_path / "outer"), writing(tmp_path / "inner"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(KeyError), whole_file(tmp_path / "x"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_only_what_the_dead_left_half_written_goes(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead = process.pid
    names = [f"a.{dead}.part", f"b.{os.getppid()}.part", "c.part", f"d.{dead}.part.txt", f"e.{dead}.parts"]
    for place in (tmp_path, tmp_path / "below"):
        place.mkdir(exist_ok=True)
        for name in names:
            (place / name).write_text("x")
        part_of(place / "own").write_text("of a process of this number that is gone")
    assert [path.name for path in dead_parts(tmp_path, "a")] == [names[0]]
    assert dead_parts(tmp_path, "b") == []
    remove_parts(tmp_path)
    for place in (tmp_path, tmp_path / "below"):
        assert {path.name for path in place.iterdir() if path.is_file()} == set(names[1:])
