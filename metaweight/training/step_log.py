"""steps.jsonl: a row for each step, written in groups, whole lines whatever happens."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from metaweight.core.atomic import whole_file, writing

PENDING = 64
"""Rows kept in memory before they are written."""


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

    def read(self) -> list[dict[str, Any]]:
        """All rows, those in memory too; a last line that a crash has torn is left out.

        Raises ValueError, with the line's number, for a damaged line.
        """
        self.flush()
        rows = []
        for number, line in enumerate(_whole_lines(self.path), start=1):
            try:
                rows.append(_row(json.loads(line)))
            except ValueError as error:
                raise ValueError(f"{self.path}, line {number} is damaged: {error}") from error
        return rows

    def truncate(self, after_step: int) -> None:
        """Drop the rows past ``after_step`` (a checkpoint's), so that a resumed run writes none twice."""
        kept = [row for row in self.read() if row["step"] <= after_step]
        if self.path.exists():
            with whole_file(self.path) as file:
                file.writelines(f"{json.dumps(row)}\n".encode() for row in kept)


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
