"""The run folder: a manifest, a row for each step and the weight of every sample; nothing is overwritten."""

from __future__ import annotations

import itertools
import json
import math
import os
import weakref
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from torch import Tensor

from metaweight.core.atomic import whole_file
from metaweight.data.origins import Origins
from metaweight.training.environment import environment, manifest
from metaweight.training.sample_weights import SampleWeights, from_arrays, to_arrays, weights_csv

__all__ = ["RunFolder", "SampleWeights", "environment", "manifest"]

PENDING = 64
"""Rows kept in memory before they are written."""


class RunFolder:
    """The folder of one run.  ``create`` makes a new one, ``open`` goes on with an old one.

    Steps are written in groups: call ``flush`` where they must be on disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending: list[str] = []
        self._write_rest = weakref.finalize(self, _append, self._steps_path, self._pending)

    @classmethod
    def create(cls, path: Path | str, manifest: Mapping[str, Any]) -> RunFolder:
        """Make the folder, with parents, and write ``manifest.json``.

        Raises FileExistsError where anything lies at ``path``, TypeError for what JSON cannot hold.
        """
        path = Path(path)
        text = _manifest_text(manifest)
        try:
            path.mkdir(parents=True)
        except FileExistsError as error:
            raise FileExistsError(
                f"{path} exists and a run overwrites nothing: choose another folder, or go on with that run "
                "(--resume)"
            ) from error
        with whole_file(path / "manifest.json") as file:
            file.write(text)
        return cls(path)

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Take up an existing run folder.  Raises FileNotFoundError where ``path`` is none."""
        path = Path(path)
        if not (path / "manifest.json").is_file():
            raise FileNotFoundError(
                f"{path} is no run folder: it has no manifest.json; name one that a run made"
            )
        return cls(path)

    def write_manifest(self, manifest: Mapping[str, Any], name: str) -> None:
        """Another manifest beside the first.  Raises TypeError for what JSON cannot hold."""
        with whole_file(self.path / name) as file:
            file.write(_manifest_text(manifest))

    def later_manifests(self) -> list[str]:
        """Names of those of later starts: manifest-2.json and on, as far as there are any."""
        names = (f"manifest-{number}.json" for number in itertools.count(2))
        return list(itertools.takewhile(lambda name: (self.path / name).is_file(), names))

    @property
    def _steps_path(self) -> Path:
        return self.path / "steps.jsonl"

    def manifest(self, name: str = "manifest.json") -> dict[str, Any]:
        """What ``create``, or ``write_manifest`` under ``name``, was given.

        Raises ValueError for a damaged file.
        """
        file = self.path / name
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError(f"it holds no names with values, but {type(content).__name__}")
        except ValueError as error:
            raise ValueError(f"{file} is damaged: {error}; start the run anew in another folder") from error
        return content

    def append_step(self, row: Mapping[str, Any]) -> None:
        """Add a row to ``steps.jsonl``: numbers and text by name, with the number ``step``.

        NaN and infinity, which JSON lacks, become null.  Raises KeyError for a row without ``step``,
        TypeError for a value that JSON cannot hold.
        """
        if "step" not in row:
            raise KeyError(
                f"a row of steps.jsonl has the number 'step', got only {', '.join(row) or 'nothing'}"
            )
        self._pending.append(json.dumps(_valid(row)) + "\n")
        if len(self._pending) >= PENDING:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are still in memory."""
        _append(self._steps_path, self._pending)

    def read_steps(self) -> list[dict[str, Any]]:
        """All rows, those in memory too; a last line that a crash has torn is left out.

        Raises ValueError, with the line's number, for a damaged line.
        """
        self.flush()
        rows = []
        for number, line in enumerate(_whole_lines(self._steps_path), start=1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"{self._steps_path}, line {number} is damaged: {error}") from error
        return rows

    def truncate_steps(self, after_step: int) -> None:
        """Drop the rows past ``after_step`` (a checkpoint's), so that a resumed run writes none twice."""
        kept = [row for row in self.read_steps() if row["step"] <= after_step]
        with whole_file(self._steps_path) as file:
            file.writelines(f"{json.dumps(row)}\n".encode() for row in kept)

    def save_weights(
        self,
        *,
        index: Tensor,
        weights: Tensor,
        loss: Tensor,
        given: Tensor | None = None,
        clean: Tensor | None = None,
        flipped: Tensor | None = None,
        probabilities: Tensor | None = None,
        origins: Origins | None = None,
    ) -> SampleWeights:
        """Write ``weights.npz`` (see SampleWeights) and ``weights.csv``, each whole or not at all.

        Raises ValueError for shapes that do not fit together.
        """
        samples = SampleWeights(
            index, weights.float(), loss.float(), given, clean, flipped, probabilities, origins
        )
        with whole_file(self.path / "weights.npz") as file:
            np.savez_compressed(file, allow_pickle=False, **to_arrays(samples))
        with whole_file(self.path / "weights.csv") as file:
            file.write(weights_csv(samples).encode())
        return samples

    def read_weights(self) -> SampleWeights:
        """What ``save_weights`` wrote.

        Raises FileNotFoundError before the end of the run, ValueError for a damaged file.
        """
        file = self.path / "weights.npz"
        if not file.is_file():
            raise FileNotFoundError(f"{file} is not there: weights by sample are written when a run ends")
        try:
            with file.open("rb") as stream, np.load(stream) as arrays:
                return from_arrays({name: arrays[name] for name in arrays.files})
        except (ValueError, TypeError, EOFError, BadZipFile, zlib.error) as error:
            raise ValueError(f"{file} is damaged: {error}; run the training again") from error


def _append(path: Path, lines: list[str]) -> None:
    """Write ``lines`` behind the file's whole ones and forget them; what a crash has torn goes."""
    if not lines:
        return
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.truncate(sum(len(line) for line in _whole_lines(path)))
        file.write("".join(lines).encode())
    lines.clear()


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that end in a line end; none where there is no file."""
    if not path.is_file():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _manifest_text(manifest: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(_valid(manifest), indent=2)}\n".encode()


def _valid(value: Any) -> Any:
    """A value as JSON holds it: tuples as lists, paths as text, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): _valid(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
