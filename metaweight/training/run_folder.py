"""The run folder: a manifest, a row for each step and the weight of every sample; nothing is overwritten."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from torch import Tensor

from metaweight.core.atomic import WriteError, dead_parts, part_of, remove_parts, whole_file, writing
from metaweight.core.digest import digest
from metaweight.core.lock import only_one
from metaweight.core.seal import SealedFile, seal_fits
from metaweight.data.origins import Origins
from metaweight.training.environment import environment, manifest
from metaweight.training.sample_weights import SampleWeights, from_arrays, to_arrays, write_weights
from metaweight.training.step_log import StepLog

__all__ = ["RunFolder", "SampleWeights", "environment", "manifest"]
FORMAT = 1
"""Of a folder's files, a comparison's too; manifests of before it was written do not say it, and are 1."""
FOLDER_FORMAT = "folder_format"
"""What a manifest calls it."""


class RunFolder:
    """The folder of one run.  ``create`` makes a new one, ``open`` goes on with an old one.

    Steps are written in groups: call ``flush`` where they must be on disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._steps = StepLog(path / "steps.jsonl")

    @classmethod
    def create(cls, path: Path | str, manifest: Mapping[str, Any]) -> RunFolder:
        """Make the folder, with parents and ``manifest.json``: all of it, or nothing.

        Raises FileExistsError where anything lies at ``path``, TypeError for what JSON cannot hold,
        WriteError where the folder cannot be made.
        """
        path = Path(path)
        text = _manifest_text(manifest)
        _require_free(path)
        try:
            with writing(path):
                _make(path, text)
        except WriteError:
            _require_free(path)  # another process was faster
            raise
        return cls(path)

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Take up an existing run folder.

        Raises FileNotFoundError where ``path`` is none, ValueError as ``manifest``.
        """
        path = Path(path)
        if not (path / "manifest.json").is_file():
            raise FileNotFoundError(
                f"{path} is no run folder: it has no manifest.json; name one that a run made"
            )
        folder = cls(path)
        folder.manifest()
        return folder

    @contextmanager
    def held(self) -> Iterator[str | None]:
        """Let no other process in while the body runs; gives a line about a lock left behind, or None.

        What processes that are gone left half written goes; rows in memory are on disk at the end, where they
        can be.  Raises as ``only_one``.
        """
        with only_one(self.path) as left:
            remove_parts(self.path)
            try:
                yield left
            finally:
                self._steps.close()

    @property
    def identity(self) -> str | None:
        """What run this is, a digest; None where the manifest has no digests of what decides it."""
        digests = self.manifest().get("digests")
        return None if digests is None else digest([json.dumps(digests, sort_keys=True)])

    def write_manifest(self, manifest: Mapping[str, Any], name: str | None = None) -> None:
        """That of another start, by default beside the earlier ones: ``manifest-2.json`` and on.

        Raises TypeError for what JSON cannot hold.
        """
        name = name or f"manifest-{len(self.later_manifests()) + 2}.json"
        with whole_file(self.path / name) as file:
            file.write(_manifest_text(manifest))

    def later_manifests(self) -> list[str]:
        """Names of those of later starts: manifest-2.json and on, as far as there are any."""
        names = (f"manifest-{number}.json" for number in itertools.count(2))
        return list(itertools.takewhile(lambda name: (self.path / name).is_file(), names))

    @property
    def example(self) -> str:
        """``: PATH`` of the first run of a comparison, to end a sentence with; empty where there is none."""
        runs = sorted(place for place in (self.path / "cells").glob("*") if place.is_dir())
        return f": {runs[0]}" if runs else ""

    def manifest(self, name: str = "manifest.json") -> dict[str, Any]:
        """What ``create``, or ``write_manifest`` under ``name``, was given.

        Raises ValueError for a damaged file and for a folder of a newer format than this version reads.
        """
        file = self.path / name
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError(f"it holds no names with values, but {type(content).__name__}")
        except ValueError as error:
            raise ValueError(f"{file} is damaged: {error}; start the run anew in another folder") from error
        _require_known(content.pop(FOLDER_FORMAT, FORMAT), file)
        return content

    def append_step(self, row: Mapping[str, Any]) -> None:
        """Add a row to ``steps.jsonl``: numbers and text by name, with the number ``step``.

        NaN and infinity, which JSON lacks, become null.  Raises as ``StepLog.append``.
        """
        self._steps.append(_valid(row))

    def flush(self) -> None:
        """Write the rows that are still in memory."""
        self._steps.flush()

    def read_steps(self) -> list[dict[str, Any]]:
        """All rows, see ``StepLog.read``."""
        return self._steps.read()

    def truncate_steps(self, after_step: int) -> None:
        """Drop the rows past ``after_step``, see ``StepLog.truncate``."""
        self._steps.truncate(after_step)

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
        said: Tensor | None = None,
        probe: Tensor | None = None,
        warmup: int = 0,
        origins: Origins | None = None,
        classes: Sequence[str] = (),
    ) -> SampleWeights:
        """Write ``weights.npz`` (see SampleWeights) and ``weights.csv``, each whole or not at all.

        ``classes``: their names, where given labels are numbers of classes; for people alone.
        Raises ValueError for shapes that do not fit together.
        """
        samples = SampleWeights(
            index,
            weights.float(),
            loss.float(),
            given,
            clean,
            flipped,
            probabilities,
            said,
            probe,
            warmup,
            origins,
        )
        with whole_file(self.path / "weights.npz") as file:
            sealed = SealedFile(file)  # what reads zip archives reads past what stands behind one
            with ZipFile(sealed, "w") as archive:  # packing takes 20 times as long, for a quarter of the room
                for name, array in to_arrays(samples).items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
            sealed.close()
        with whole_file(self.path / "weights.csv") as file:
            write_weights(file, samples, classes)
        return samples

    def read_weights(self) -> SampleWeights:
        """What ``save_weights`` wrote.

        Raises FileNotFoundError before the end of the run, ValueError for a damaged file.
        """
        file = self.path / "weights.npz"
        if not file.is_file():
            raise FileNotFoundError(f"{file} is not there: weights by sample are written when a run ends")
        try:
            if seal_fits(file) is False:
                raise ValueError("it is not as it was written")
            with file.open("rb") as stream, np.load(stream) as arrays:
                return from_arrays({name: arrays[name] for name in arrays.files})
        except Exception as error:  # what a damaged file raises is anything
            raise ValueError(
                f"{file} is damaged: {error}; metaweight train --resume {self.path} writes it again"
            ) from error


def _require_known(number: object, file: Path) -> None:
    if type(number) is not int or number < 1:
        raise ValueError(
            f"{file} is damaged: {FOLDER_FORMAT} is {number!r}; start the run anew in another folder"
        )
    if number > FORMAT:
        raise ValueError(
            f"{file.parent} is a folder of format {number}, this version of metaweight reads up to {FORMAT}: "
            "upgrade metaweight"
        )


def _require_free(path: Path) -> None:
    if os.path.lexists(path):
        raise FileExistsError(
            f"{path} exists and a run overwrites nothing: choose another folder, or go on with that run "
            "(--resume)"
        )


def _make(path: Path, text: bytes) -> None:
    """The folder ``path`` with its manifest in one step; what processes that are gone had made of it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for part in dead_parts(path.parent, path.name):
        if part.is_dir() and all(entry.name.startswith("manifest.json") for entry in part.iterdir()):
            shutil.rmtree(part)
    part = part_of(path)
    part.mkdir()
    try:
        with (part / "manifest.json").open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        shutil.rmtree(part)
        raise


def _manifest_text(manifest: Mapping[str, Any]) -> bytes:
    content = {**_valid(manifest), FOLDER_FORMAT: FORMAT}
    return f"{json.dumps(content, indent=2)}\n".encode()


def _valid(value: Any) -> Any:
    """A value as JSON holds it: tuples as lists, paths as text, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): _valid(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
