"""Whether the runs that lie in a comparison's folder are those that it would make now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from metaweight.comparison.cells import Cell
from metaweight.remedies import begun
from metaweight.tasks import tasks
from metaweight.tasks.config import config_from
from metaweight.tasks.identity import (
    OPTIONS,
    UNCHECKED,
    other_options,
    other_versions,
    require_data,
    require_options,
)
from metaweight.tasks.outcome import RESULT
from metaweight.training.run_folder import RunFolder


def require_same_runs(runs: Iterable[tuple[Cell, Path]]) -> list[str]:
    """What else is new around those of ``runs`` that lie in their folders, in lines.

    Each distinct data set is prepared once, and those of runs that have ended count too: a table is of one
    data set.  Raises ValueError, with the first folder, for other options or data, and for versions that
    decide the numbers of a run that was stopped.
    """
    seen: set[tuple[object, ...]] = set()
    lines: Counter[str] = Counter()
    for cell, place in runs:
        if not place.is_dir():
            continue
        folder = RunFolder.open(place)
        about = folder.manifest()
        _require_same_options(cell, place, about)
        ended = (place / RESULT).is_file()
        lines.update(other_versions(place, about, refuse=not ended and begun(folder)))
        if "digests" not in about:
            lines[UNCHECKED] += 1
            continue
        # runs that began with equal data have equal data now, where they are read from the same places
        data = tuple(sorted((about["digests"] | {OPTIONS: ""}).items()))
        data += tuple(vars(cell.config)[name] for name in cell.config.places)
        if data not in seen:
            require_data(place, about, tasks[cell.config.task].prepare(cell.config))
            seen.add(data)
    return [f"{line} ({count} of the runs in the folder)" for line, count in lines.items()]


def _require_same_options(cell: Cell, place: Path, about: Mapping[str, Any]) -> None:
    """Raise ValueError where a run with other options than ``cell``'s lies in ``place``."""
    theirs = config_from(type(cell.config), about["config"], place / "manifest.json")
    for name in other_options(cell.config, theirs, free="digests" in about):
        raise ValueError(
            f"{place} was run with {name} {getattr(theirs, name)!r}, not {getattr(cell.config, name)!r}: "
            "go on with the same options, or choose another folder"
        )
    require_options(place, about, cell.config)
