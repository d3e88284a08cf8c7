"""Runs in the working directory whose files another version of metaweight has written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from metaweight.comparison.records import PLAN
from metaweight.core.records import Record
from metaweight.training import run_folder
from metaweight.training.checkpoint import FORMAT, format_of

Form = Literal["older", "newer", "grid without a plan"]
RUNS = Path("runs")
MOST = 20
"""Folders that are looked into, those first that changed last."""


class OtherForm(Record, frozen=True):
    """A run of another version."""

    name: str
    """Of its folder."""
    form: Form


def other_forms(folder: Path = RUNS) -> tuple[OtherForm, ...]:
    """Of the runs and grids in ``folder`` those that are not as this version writes them, by name."""
    try:
        places = [path for path in folder.iterdir() if path.is_dir()]
        places.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:  # there is none, or it is another user's
        return ()
    found = {place.name: _form(place) for place in places[:MOST]}
    return tuple(OtherForm(name, form) for name, form in sorted(found.items()) if form is not None)


def _form(place: Path) -> Form | None:
    try:
        if (place / "cells").is_dir() and not (place / PLAN).is_file():
            return "grid without a plan"
        if _folder_format(place / "manifest.json") > run_folder.FORMAT:
            return "newer"
        written = format_of(place / "checkpoint.pt")
    except OSError:  # another user's
        return None
    if written is None or written == FORMAT:
        return None
    return "older" if written < FORMAT else "newer"


def _folder_format(manifest: Path) -> int:
    """0 where there is none, or it is damaged: whoever opens the folder is told."""
    if not manifest.is_file():
        return 0
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError:
        return 0
    number = content.get(run_folder.FOLDER_FORMAT, 0) if isinstance(content, dict) else 0
    return number if isinstance(number, int) else 0
