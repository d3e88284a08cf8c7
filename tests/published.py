"""A comparison as the command makes it: run, published, and an error where a run failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from metaweight.comparison import suite
from metaweight.comparison.cells import CellResult
from metaweight.comparison.grid import Grid
from metaweight.comparison.tuning import Tuning
from metaweight.report.publication import publish


def compare(
    grid: Grid,
    path: Path,
    *,
    jobs: int,
    console: Console,
    devices: Sequence[str] = (),
    resume: bool = False,
    tuning: Tuning | None = None,
) -> list[CellResult]:
    """Raises as ``suite.compare`` and as ``GridResult.require_all``."""
    done = suite.compare(
        grid, path, jobs=jobs, devices=devices, console=console, resume=resume, tuning=tuning
    )
    publish(done.folder, console)
    done.require_all()
    return list(done.results)
