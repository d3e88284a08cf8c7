"""Runs in the working directory whose files another version of metaweight has written."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from metaweight.comparison.records import PLAN
from metaweight.core.records import Record
from metaweight.training.checkpoint import FORMAT, format_of

RUNS = Path("runs")
MOST = 20
"""Folders that are looked into, those first that changed last."""


class OtherForm(Record, frozen=True):
    """A run of another version."""

    name: str
    """Of its folder."""
    form: Literal["older", "newer", "grid without a plan"]


def other_forms(folder: Path = RUNS) -> tuple[OtherForm, ...]:
    """Of the runs and grids in ``folder`` those that are not as this version writes them, by name."""
    if not folder.is_dir():
        return ()
    places = [path for path in folder.iterdir() if path.is_dir()]
    places.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    others = []
    for place in places[:MOST]:
        written = format_of(place / "checkpoint.pt")
        if (place / "cells").is_dir() and not (place / PLAN).is_file():
            others.append(OtherForm(place.name, "grid without a plan"))
        elif written is not None and written != FORMAT:
            others.append(OtherForm(place.name, "older" if written < FORMAT else "newer"))
    return tuple(sorted(others, key=lambda one: one.name))
