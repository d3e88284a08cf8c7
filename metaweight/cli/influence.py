"""``metaweight influence``: what each training sample of a finished run did to a loss at its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from rich.table import Table
from tyro.conf import Positional

from metaweight.cli.answers import print_answers
from metaweight.cli.asking import OF, influence_of, opened, recorded
from metaweight.core.atomic import whole_file
from metaweight.core.console import Terminal
from metaweight.core.csv_columns import listed, write_by_column
from metaweight.core.weights import auroc
from metaweight.influence import Influence
from metaweight.influence.questions import Questions, asked_of
from metaweight.influence.result import highest_first
from metaweight.report.own_rows import class_names, own_columns
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights, origin_columns

SHOWN = 5
ASKED = (
    "asked: what a little more weight of each sample, in all of its visits, does to {} at the end of the "
    "run, of {:,} steps"
)


@dataclass(frozen=True, kw_only=True)
class InfluenceOf:
    """A finished run; a call asks each of its training samples."""

    run: Annotated[str, Positional]
    """Folder of a finished run."""
    of: Literal["meta", "valid", "test"] = "meta"
    """Whose mean loss at the end of the run is asked about: that of the trusted rows, of the validation or
    of the test set."""
    rows: tuple[int, ...] = ()
    """Single rows of these instead, by their place from 0: why does the student say of them what it says?
    Each costs about two plain runs."""
    worst: int = 0
    """So many rows of these on which the student is worst at the end of the run, each asked about alone."""
    out: str | None = None
    """Folder for influence.csv and influence.npz (of single rows questions.csv, .npz and .json), which must
    not be there. Default: the run's."""
    checkpoints: str = "sqrt"
    """States that are kept: sqrt, all, a number of steps between two, or what they may take together: 2GB.
    A run that was asked before has those that it has."""
    states: Literal["exact", "bf16"] = "exact"
    """Digits of these; bf16: half the bytes, and steps taken again that begin a rounding away."""
    recorded: bool = False
    """Go on where steps taken again are not the run's to the last bit, as of some engines, and say how far
    off they are."""
    low_memory: bool = False
    """About the memory of training, for half more of the time: one block of the student, or some rows, at a
    time, and states on the disk."""

    def __call__(self) -> None:
        console, folder = Terminal(), RunFolder.open(self.run)
        place = folder.path if self.out is None else Path(self.out)
        name = "questions" if self.rows or self.worst else "influence"
        table, archive = place / f"{name}.csv", place / f"{name}.npz"
        for path in (table, archive):
            if path.exists():
                raise FileExistsError(f"{path} exists: choose another folder with --out")
        samples = folder.read_weights().own
        with folder.held() as left:
            if left is not None:
                console.print(left, soft_wrap=True)
            started = time.monotonic()
            found, questions = self._asked(console, folder.path)
            seconds = time.monotonic() - started
        place.mkdir(parents=True, exist_ok=True)
        found.save(archive)
        if questions is None:
            _write(table, found, ["influence"], samples, folder.path)
            _print(console, found, samples, folder.path)
        else:
            questions.write(place)
            names = [f"influence_{one.row}" for one in questions.asked]
            _write(table, found, names, samples, folder.path)
            print_answers(console, found, questions, samples, class_names(folder.path) or ())
        console.print(f"took {seconds:,.0f} s; all samples, the most harmful first: {table}", soft_wrap=True)
        console.print(
            f"for programs: {archive}; states of the run, to ask again: {folder.path / 'whole'}",
            soft_wrap=True,
        )

    def _asked(self, console: Terminal, path: Path) -> tuple[Influence, Questions | None]:
        run = opened(
            path,
            checkpoints=self.checkpoints,
            states=self.states,
            recorded=self.recorded,
            low_memory=self.low_memory,
        )
        rows = run.rows(self.of)
        if not self.rows and not self.worst:
            whose = f"the mean loss of the {OF[self.of]}"
            console.print(ASKED.format(whose, len(run.steps)), soft_wrap=True)
            return replace(influence_of(console, run, rows), asked=OF[self.of]), None
        recorded(console, run)
        asked = asked_of(
            run.student,
            run.recording.end(),
            rows,
            OF[self.of],
            rows=self.rows,
            worst=self.worst,
            cells=partial(run.taking.cells, self.of),
        )
        whose = f"the loss of each of {len(asked.rows)} {OF[self.of]}"
        console.print(ASKED.format(whose, len(run.steps)), soft_wrap=True)
        found = influence_of(console, run, asked.rows)
        if found.values.dim() == 1:
            found = replace(found, values=found.values[None], losses=found.losses[None])
        return replace(found, asked=OF[self.of]), asked.questions


def _write(table: Path, found: Influence, names: Sequence[str], samples: SampleWeights, folder: Path) -> None:
    """A row for each sample, the most harmful first, with a column of ``names`` for each loss."""
    values = found.values.reshape(len(names), -1)[:, samples.index]
    columns = {
        "index": samples.index.numpy(),
        **{name: own.numpy() for name, own in zip(names, values, strict=True)},
        **origin_columns(samples),
    }
    own = own_columns(folder, samples.index.numpy()) or {}
    columns |= {f"own_{name}" if name in columns else name: cells for name, cells in own.items()}
    with whole_file(table) as file:
        write_by_column(file, columns, highest_first(values.mean(0)))


def _print(console: Terminal, found: Influence, samples: SampleWeights, folder: Path) -> None:
    """The first ones of both ends, and how well wrong labels are found."""
    values = found.values[samples.index]
    seen = values.isfinite()
    count = int(seen.sum())
    harmful = int((values[seen] > 0).sum())
    console.print(
        f"that loss is {float(found.losses):.4g}; {count:,} samples: more weight of {harmful:,} raises it "
        f"(these do harm), of {count - harmful:,} it does not",
        soft_wrap=True,
    )
    order = highest_first(values)[:count]
    origins = {name: listed(cells, order) for name, cells in origin_columns(samples).items()}
    for title, places in (
        ("most harmful", range(min(SHOWN, count))),
        ("most helpful", range(count - 1, max(count - 1 - SHOWN, -1), -1)),
    ):
        rows = Table(title, "influence", "file", "row", "name")
        for place in places:
            at = order[place]
            own = (str(origins[name][place]) for name in ("file", "row", "name"))
            rows.add_row(str(int(samples.index[at])), f"{float(values[at]):+.3g}", *own)
        console.print(rows)
    flipped = samples.flipped
    if flipped is None or not 0 < int(flipped[seen].sum()) < count:
        return
    weights = samples.mean_weight()
    known = seen & weights.isfinite()
    console.print(
        f"AUROC for the {int(flipped[known].sum()):,} wrong labels: influence "
        f"{auroc(-values[known], flipped[known]):.3f}, weights of the run "
        f"{auroc(weights[known], flipped[known]):.3f}",
        soft_wrap=True,
    )
