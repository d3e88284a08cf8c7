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
from metaweight.core.csv_columns import write_blocks
from metaweight.data import load_images
from metaweight.data.folder import VARIABLE
from metaweight.report import suspects
from metaweight.report.by_epoch import write_by_epoch
from metaweight.report.own_rows import class_names, own_columns
from metaweight.report.suspect_tokens import COLUMNS, suspect_tokens
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights

SHARED = "the share that both name, and (Jaccard) the same share of all that either names."
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
    """File of the list; must not exist. Weights by epoch lie beside it: suspects_by_epoch.parquet; of
    sentences of labelled tokens also the tokens, each in its sentence: suspects_tokens.csv."""
    cleanlab: bool = False
    """Say how far the list agrees with cleanlab's, which has to be installed."""

    def __call__(self) -> None:
        console, out = Terminal(), Path(self.out)
        history = out.with_name(f"{out.stem}_by_epoch.parquet")
        by_token = out.with_name(f"{out.stem}_tokens.csv")
        for place in (out, history, by_token):
            if place.exists():
                raise FileExistsError(f"{place} exists: choose another file with --out")
        if self.cleanlab:
            suspects.require_cleanlab()
        folder, about = _opened(Path(self.run))
        whole = folder.read_weights()
        found = suspects.Suspects(whole)
        write_by_epoch(history, whole)
        del whole  # nothing else is as large
        try:
            tokens = suspect_tokens(folder.path)
            _write_list(found, out, folder.path, about, console)
        except BaseException:
            history.unlink()
            raise
        _print_list(found, out, history, console)
        if tokens is not None:
            with whole_file(by_token) as file:
                write_blocks(file, COLUMNS, tokens.blocks())
            console.print(f"{len(tokens):,} tokens, each in its sentence: {by_token}", soft_wrap=True)
        if found.belief is not None and about.get("remedy", "none") == "none":
            for sentence in found.belief.sentences:
                console.print(sentence, soft_wrap=True)
        _print_agreement(found, _issues(found.samples, console) if self.cleanlab else None, console)


def _opened(path: Path) -> tuple[RunFolder, dict[str, object]]:
    folder = RunFolder.open(path)
    config = folder.manifest().get("config")
    if isinstance(config, dict) and "base" in config:
        raise ValueError(f"{path} is a comparison: name one of its runs{folder.example}")
    if not isinstance(config, dict):
        raise ValueError(f"{path} is no run of metaweight train or compare: its manifest has no config")
    return folder, config


def _write_list(
    found: suspects.Suspects, out: Path, folder: Path, config: dict[str, object], console: Terminal
) -> None:
    own = own_columns(folder, found.samples.index.numpy())
    classes = found.samples.probabilities is not None
    if own is None and not classes:
        raise ValueError(
            f"{folder} has no probabilities, from which a label is suggested: an older version made it; "
            "train again"
        )
    names = _class_names(folder, config, console) if classes else ()
    with whole_file(out) as file:
        found.write(file, names, own)


def _class_names(folder: Path, config: dict[str, object], console: Terminal) -> Sequence[str]:
    """Those that the run kept, else of the data set; none, and a word of it, where the data are not here."""
    if (kept := class_names(folder)) is not None:
        return kept
    where = config.get("data_dir") or os.environ.get(VARIABLE)
    try:
        return load_images(str(config["data"]), None if where is None else str(where)).classes
    except (KeyError, ValueError, OSError, ImportError) as error:
        console.print(f"labels are numbers, for the data are not here: {error}")
        return ()


def _print_list(found: suspects.Suspects, out: Path, history: Path, console: Terminal) -> None:
    """What was written, and how many of it are suspects."""
    listed = len(found.order)
    unseen = len(found.samples.index) - listed
    rest = f", {unseen:,} that no epoch saw left out" if unseen else ""
    console.print(f"{listed:,} samples{rest}: {out}; weights by epoch: {history}", soft_wrap=True)
    if not _ranked(found):
        console.print("all weights are equal: this run suspects nobody")
        return
    count = int(found.is_suspect.sum())
    console.print(f"{count:,} of them are suspects (is_suspect): {_rule(found)}", soft_wrap=True)


def _rule(found: suspects.Suspects) -> str:
    """By what a sample is a suspect."""
    if found.by_probes:
        return "at or below the weight that the probes give"
    if found.samples.probabilities is None:
        return "below the valley between two groups of weights"
    return "below the valley between two groups of weights, and the student says another label"


def _ranked(found: suspects.Suspects) -> bool:
    """Whether there are first ones; of weights that are all equal there are none."""
    means = found.means[found.order]
    return bool((means != means[:1]).any())


def _issues(samples: SampleWeights, console: Terminal) -> Tensor | None:
    try:
        return suspects.label_issues(samples)
    except ValueError as error:
        console.print(f"no comparison with cleanlab: {error}")
        return None


def _print_agreement(found: suspects.Suspects, issues: Tensor | None, console: Terminal) -> None:
    """What is known of the first k."""
    flipped, ranked = found.samples.flipped, _ranked(found)
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
        if issues is not None and ranked:
            console.print(
                f"Of the k most suspect samples beside cleanlab's first k: {SHARED}", soft_wrap=True
            )
        table = Table("first k", *columns)
        for k, *row in zip(found.places(), *columns.values(), strict=True):
            table.add_row(str(k), *row)
        console.print(table)
    if issues is not None:
        console.print(f"cleanlab finds {len(issues):,} label issues. {IN_SAMPLE}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
