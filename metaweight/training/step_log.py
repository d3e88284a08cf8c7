"""steps.jsonl: a row for each step, written in groups, whole lines whatever happens.

A long run's rows move on, packed, to steps-1.jsonl.gz, steps-2.jsonl.gz, ...; the last are in steps.jsonl.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import weakref
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from metaweight.core.atomic import whole_file, writing

PENDING = 64
"""Rows kept in memory before they are written."""
ROOM = 4 * 2**20
"""Bytes of steps.jsonl from which its rows are packed away."""


class StepLog:
    """The rows of a run, in memory and at ``path``; the last ones are written when it is let go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending: list[str] = []
        self.close = weakref.finalize(self, _append_last, path, self._pending)
        """Write what is in memory, where that can be; a run that goes on writes it anew."""

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row that JSON holds, with the number ``step``.

        Raises KeyError for a row without it, TypeError for a value that JSON cannot hold, WriteError where
        the rows cannot be written.
        """
        if "step" not in row:
            raise KeyError(
                f"a row of steps.jsonl has the number 'step', got only {', '.join(row) or 'nothing'}"
            )
        self._pending.append(json.dumps(row) + "\n")
        if len(self._pending) >= PENDING:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are still in memory.  Raises WriteError where that cannot be."""
        _append(self.path, self._pending)
        if self.path.is_file() and self.path.stat().st_size >= ROOM:
            self._pack()

    def read(self) -> list[dict[str, Any]]:
        """All rows, those in memory too; a last line that a crash has torn is left out.

        Raises ValueError, with the line's number, for a damaged line.
        """
        self.flush()
        packed = [row for archive in self._archives() for row in _parsed(archive, _unpacked(archive))]
        last = packed[-1]["step"] if packed else float("-inf")
        # a crash between packing and emptying leaves rows in both
        return packed + [row for row in self._loose() if row["step"] > last]

    def truncate(self, after_step: int) -> None:
        """Drop the rows past ``after_step`` (a checkpoint's), so that a resumed run writes none twice."""
        self.flush()
        kept = [row for row in self._loose() if row["step"] <= after_step]
        reopened = []
        for archive in reversed(self._archives()):
            rows = _parsed(archive, _unpacked(archive))
            if rows[-1]["step"] <= after_step:
                kept = [row for row in kept if row["step"] > rows[-1]["step"]]
                break
            kept = [row for row in rows if row["step"] <= after_step]
            reopened.append(archive)
        if self.path.exists() or reopened:
            with whole_file(self.path) as file:
                file.writelines(f"{json.dumps(row)}\n".encode() for row in kept)
        for archive in reopened:
            archive.unlink()

    def _loose(self) -> list[dict[str, Any]]:
        return _parsed(self.path, _whole_lines(self.path))

    def _archives(self) -> list[Path]:
        names = (self.path.with_name(f"{self.path.stem}-{n}.jsonl.gz") for n in itertools.count(1))
        return list(itertools.takewhile(Path.is_file, names))

    def _pack(self) -> None:
        """Move the rows of steps.jsonl into the next archive."""
        archives = self._archives()
        rows = _whole_lines(self.path)
        if archives:  # a crash before the last packing was over
            last = _parsed(archives[-1], _unpacked(archives[-1]))[-1]["step"]
            rows = [row for row in rows if json.loads(row)["step"] > last]
        archive = self.path.with_name(f"{self.path.stem}-{len(archives) + 1}.jsonl.gz")
        if rows:
            with whole_file(archive) as file:
                file.write(gzip.compress(b"".join(rows), mtime=0))
        with writing(self.path):
            os.truncate(self.path, 0)


def _parsed(path: Path, lines: list[bytes]) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(_row(json.loads(line)))
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is damaged: {error}") from error
    return rows


def _unpacked(archive: Path) -> list[bytes]:
    try:
        lines = gzip.decompress(archive.read_bytes()).splitlines(keepends=True)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive} is damaged: {error}") from error
    if not lines:
        raise ValueError(f"{archive} is damaged: it holds no row")
    return lines


def _append(path: Path, lines: list[str]) -> None:
    """Write ``lines`` behind the file's whole ones and forget them; what a crash has torn goes.

    Raises WriteError where they cannot be written; the file keeps whole lines then.
    """
    if not lines:
        return
    with writing(path), path.open("ab+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                size = sum(len(line) for line in _whole_lines(path))
                file.truncate(size)
        rest = memoryview("".join(lines).encode())
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(size)
            raise
    lines.clear()


def _append_last(path: Path, lines: list[str]) -> None:
    with suppress(OSError):
        _append(path, lines)


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that end in a line end; none where there is no file."""
    if not path.is_file():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _row(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("step"), int | float):
        raise ValueError(f"it holds no row with the number 'step', but {value!r:.60}")
    return value
