"""What decides a run: kept as digests when it starts, and compared when it goes on."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metaweight.core.digest import digest
from metaweight.core.options import checked_options
from metaweight.tasks.base import Prepared, Task, described, tasks
from metaweight.tasks.config import RunConfig
from metaweight.training.environment import environment
from metaweight.training.run_folder import RunFolder, manifest

FREE = ("data_dir", "device", "plain_run")
"""Options that may be others when a run goes on, beside its ``places``, where the data are the same: what is
trained beside a run does not change it."""
OPTIONS = "options"
UNCHECKED = "an older version started it and kept no digests: whether its data are the same cannot be checked"
DECIDING = ("torch", "higher", "numpy", "sentencepiece", "metaweight")
"""Distributions whose version decides a run's numbers."""


def run_manifest(config: RunConfig, prepared: Prepared, **more: Any) -> dict[str, Any]:
    """The manifest of a run, with the digests of what decides it; ``more``: what else is to be said of it."""
    return {
        "task": config.task,
        **more,
        **manifest(asdict(config), sys.argv),
        "data": described(prepared),
        "digests": {**prepared.digests, OPTIONS: _digest_of(config)},
    }


def other_options(given: RunConfig, kept: RunConfig, *, free: bool = True) -> list[str]:
    """Options that differ, but for those that may; with ``free=False`` no place of the data may."""
    may = {*FREE, *(given.places if free else ())}
    theirs = asdict(kept)
    names = [name for name, value in asdict(given).items() if name not in may and theirs[name] != value]
    places = given.places if free else ()
    return names + [name for name in places if _kind(name, theirs[name]) != _kind(name, vars(given)[name])]


def require_same_run(
    folder: RunFolder, config: RunConfig, prepared: Prepared, *, begun: bool = True
) -> list[str]:
    """What else is not as when the run in ``folder`` was started, in lines; it goes on all the same.

    ``begun``: whether something of it was trained, so that versions count, and what the folder keeps.  Raises
    ValueError that names each part of the data, the options or the version that is another, and what to do,
    FileNotFoundError where a file that the run keeps is missing.
    """
    about = folder.manifest()
    require_options(folder.path, about, config)
    require_data(folder.path, about, prepared)
    notes = other_versions(folder.path, about, refuse=begun)
    if begun:
        _require_kept(tasks[config.task], prepared, folder)
    return notes if "digests" in about else [*notes, UNCHECKED]


def require_options(path: Path, about: Mapping[str, Any], config: RunConfig) -> None:
    """Raise ValueError where ``config`` is not what the manifest ``about`` of ``path`` was written for."""
    # an older version knew fewer options, and signed for these
    now = _digest_of(config, about.get("config"))
    if about.get("digests", {}).get(OPTIONS, now) != now:
        raise ValueError(
            f"{path}: the options are others than the run was started with: its manifest.json was changed; "
            "put it back as it was, or start a new run"
        )


def require_data(path: Path, about: Mapping[str, Any], prepared: Prepared) -> None:
    """Raise ValueError where the data are others than the manifest ``about`` of ``path`` says."""
    now = prepared.digests
    started = {part: value for part, value in about.get("digests", {}).items() if part != OPTIONS}
    changed = [part for part, value in started.items() if now.get(part) != value]
    if changed:
        one = len(changed) == 1 and not changed[0].endswith("s")
        raise ValueError(
            f"{path}: the {_listed(changed)} {'is' if one else 'are'} not what the run was started with; go "
            f"on with the same data in the same order ({about.get('data', 'see manifest.json')}), or start a "
            "new run"
        )


def other_versions(path: Path, about: Mapping[str, Any], *, refuse: bool) -> list[str]:
    """Versions that are others than when the manifest ``about`` was written, in lines.

    Raises ValueError, with ``refuse``, where one of ``DECIDING`` is.
    """
    started, now = about.get("versions", {}), environment()["versions"]
    moved = {name: (old, now[name]) for name, old in started.items() if now.get(name, old) != old}
    deciding = [name for name in DECIDING if name in moved and len({_public(v) for v in moved[name]}) > 1]
    if deciding and refuse:
        which = _listed([f"{name} {moved[name][0]} (now {moved[name][1]})" for name in deciding])
        install = " ".join(f"{name}=={_public(moved[name][0])}" for name in deciding)
        raise ValueError(
            f"{path} was started with {which}, and the rest of its numbers would be others now: "
            f"pip install {install}, or start a new run"
        )
    return [f"started with {name} {old}, now {new}" for name, (old, new) in moved.items()]


def _require_kept(task: Task[Any, Any], prepared: Prepared, folder: RunFolder) -> None:
    """Raise where ``folder`` lacks what the task keeps from the start on, or holds something else.

    What is kept follows from the data, so a run that goes on with the same data would write it again.
    """
    with tempfile.TemporaryDirectory() as scratch:
        task.keep(prepared, RunFolder(Path(scratch)))
        for expected in sorted(Path(scratch).iterdir()):
            file = folder.path / expected.name
            if not file.is_file():
                raise FileNotFoundError(f"{file} is missing: copy it from where the run was started")
            if file.read_bytes() != expected.read_bytes():
                raise ValueError(
                    f"{file} is another than this run's data gives: resume with the data and the library "
                    "versions (manifest.json) that it was started with"
                )


def _digest_of(config: RunConfig, known: Mapping[str, Any] | None = None) -> str:
    """Of the options that decide a run; of a place, which kind of place it is.  ``known``: of these alone."""
    given = asdict(config)
    values = {name: given[name] for name in given if name not in FREE and (known is None or name in known)}
    kinds = {name: _kind(name, values.pop(name)) for name in config.places if name in values}
    checked = checked_options("a run", type(config), values)  # 1 is 1.0 where a manifest would say so
    return digest([json.dumps({**checked, **kinds}, sort_keys=True, default=str)])


def _kind(option: str, place: Any) -> str:
    """Of ``data`` the way to read it (``tsv`` of ``tsv:PATH``), or its name; of a file that it is given."""
    if option == "data":
        return str(place).partition(":")[0]
    return "" if place is None else "given"


def _public(version: str) -> str:
    """Without the build, which is another one for another device: 2.13.0 of 2.13.0+cpu."""
    return version.partition("+")[0]


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
