"""``metaweight suspects``: the samples that a finished run trusts least."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.table import Table
from torch import Tensor
from tyro.conf import Positional

from metaweight.core.atomic import whole_file
from metaweight.core.console import Terminal
from metaweight.core.csv_text import read_csv
from metaweight.data import load_images
from metaweight.data.folder import VARIABLE
from metaweight.report import suspects
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights

IN_SAMPLE = (
    "cleanlab sees the student's probabilities of samples that it was trained on; it is made for others, and "
    "finds more with those of a cross-validation."
)


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """A finished run; a call lists its training samples, lowest mean weight first."""

    run: Annotated[str, Positional]
    """Folder of a finished run."""
    out: str = "suspects.csv"
    """File of the list; must not exist."""

    def __call__(self) -> None:
        console, out = Terminal(), Path(self.out)
        if out.exists():
            raise FileExistsError(f"{out} exists: choose another file with --out")
        folder, about = _opened(Path(self.run))
        samples = folder.read_weights()
        kept = folder.path / "pairs.csv"
        pairs = _pairs(kept, samples.index.tolist()) if kept.is_file() else None
        if pairs is None and samples.probabilities is None:
            raise ValueError(
                f"{folder.path} has no probabilities, from which a label is suggested: an older version "
                "made it; train again"
            )
        ranking = suspects.Suspects(samples)
        names = _class_names(about, console) if pairs is None else ()
        with whole_file(out) as file:
            file.write(ranking.to_csv(names, pairs).encode())
        unseen = len(samples.index) - len(ranking.order)
        rest = f", {unseen:,} that no epoch saw left out" if unseen else ""
        console.print(f"{len(ranking.order):,} samples{rest}: {out}", soft_wrap=True)
        means = samples.mean_weight()[ranking.order]
        ranked = bool((means != means[:1]).any())
        if not ranked:
            console.print("all weights are equal: this run suspects nobody")
        issues = _issues(samples, console) if pairs is None else None
        _print_agreement(ranking, issues, console, ranked=ranked)


def _opened(path: Path) -> tuple[RunFolder, dict[str, object]]:
    folder = RunFolder.open(path)
    config = folder.manifest().get("config")
    if isinstance(config, dict) and "base" in config:
        runs = sorted(place.name for place in (path / "cells").glob("*") if place.is_dir())
        example = f": {path / 'cells' / runs[0]}" if runs else ""
        raise ValueError(f"{path} is a comparison: name one of its runs{example}")
    if not isinstance(config, dict):
        raise ValueError(f"{path} is no run of metaweight train or compare: its manifest has no config")
    return folder, config


def _class_names(config: dict[str, object], console: Terminal) -> Sequence[str]:
    """Of the data set; none, and a word of it, where the data are not here."""
    where = config.get("data_dir") or os.environ.get(VARIABLE)
    try:
        return load_images(str(config["data"]), None if where is None else str(where)).classes
    except (KeyError, ValueError, OSError, ImportError) as error:
        console.print(f"labels are numbers, for the data are not here: {error}")
        return ()


def _pairs(path: Path, index: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Source and target by index.  Raises ValueError where the file lacks a pair of ``index``, or columns."""
    rows = read_csv(path, columns=("index", "source", "target"))
    pairs = {row["index"]: (row["source"], row["target"]) for row in rows}
    missing = [number for number in index if str(number) not in pairs]
    if missing:
        raise ValueError(
            f"{path} is damaged: it lacks {len(missing):,} of {len(index):,} pairs, the first that of index "
            f"{missing[0]}; train again"
        )
    return {number: pairs[str(number)] for number in index}


def _issues(samples: SampleWeights, console: Terminal) -> Tensor | None:
    try:
        return suspects.label_issues(samples)
    except (ImportError, ValueError) as error:
        console.print(f"no comparison with cleanlab: {error}")
        return None


def _print_agreement(
    found: suspects.Suspects, issues: Tensor | None, console: Terminal, *, ranked: bool
) -> None:
    """What is known of the first k; of weights that are all equal there are no first ones."""
    flipped = found.samples.flipped
    truth = flipped is not None and bool(flipped.any())
    columns: dict[str, list[str]] = {}
    for k in found.places():
        cells = {"flipped": _percent(found.precision(k))} if truth and ranked else {}
        if issues is not None and truth:
            cells["flipped, cleanlab"] = _percent(suspects.precision_at(issues, flipped, k))
        if issues is not None and ranked:
            shared = suspects.overlap_at(found.order, issues, k)
            cells["shared with cleanlab"] = "-" if shared is None else _percent(shared.shared)
            cells["Jaccard"] = "-" if shared is None else f"{shared.jaccard:.2f}"
        for heading, cell in cells.items():
            columns.setdefault(heading, []).append(cell)
    if columns:
        table = Table("first k", *columns)
        for k, *row in zip(found.places(), *columns.values(), strict=True):
            table.add_row(str(k), *row)
        console.print(table)
    if issues is not None:
        console.print(f"cleanlab finds {len(issues):,} label issues. {IN_SAMPLE}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
