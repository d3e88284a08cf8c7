"""``metaweight influence``: what each training sample of a finished run did to a loss at its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from rich.table import Table
from tyro.conf import Positional

from metaweight.cli.asking import OF, influence_of, opened
from metaweight.core.atomic import whole_file
from metaweight.core.console import Terminal
from metaweight.core.csv_columns import listed, write_by_column
from metaweight.core.weights import auroc
from metaweight.influence import Influence
from metaweight.influence.result import highest_first
from metaweight.report.own_rows import own_columns
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights, origin_columns

SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class InfluenceOf:
    """A finished run; a call asks each of its training samples."""

    run: Annotated[str, Positional]
    """Folder of a finished run."""
    of: Literal["meta", "valid", "test"] = "meta"
    """Whose mean loss at the end of the run is asked about: that of the trusted rows, of the validation or
    of the test set."""
    out: str | None = None
    """Folder for influence.csv and influence.npz, which must not be there. Default: the run's."""
    checkpoints: str = "sqrt"
    """States that are kept: sqrt, all, a number of steps between two, or what they may take together: 2GB.
    A run that was asked before has those that it has."""
    recorded: bool = False
    """Go on where steps taken again are not the run's to the last bit, as of some engines, and say how far
    off they are."""

    def __call__(self) -> None:
        console, folder = Terminal(), RunFolder.open(self.run)
        place = folder.path if self.out is None else Path(self.out)
        table, archive = place / "influence.csv", place / "influence.npz"
        for path in (table, archive):
            if path.exists():
                raise FileExistsError(f"{path} exists: choose another folder with --out")
        samples = folder.read_weights().own
        with folder.held() as left:
            if left is not None:
                console.print(left, soft_wrap=True)
            started = time.monotonic()
            found = self._asked(console, folder.path)
            seconds = time.monotonic() - started
        place.mkdir(parents=True, exist_ok=True)
        found.save(archive)
        _write(table, found, samples, folder.path)
        _print(console, found, samples, folder.path)
        console.print(f"took {seconds:,.0f} s; all samples, the most harmful first: {table}", soft_wrap=True)
        console.print(
            f"for programs: {archive}; states of the run, to ask again: {folder.path / 'whole'}",
            soft_wrap=True,
        )

    def _asked(self, console: Terminal, path: Path) -> Influence:
        run = opened(path, checkpoints=self.checkpoints, recorded=self.recorded)
        rows = run.rows(self.of)
        console.print(
            "asked: what a little more weight of each sample, in all of its visits, does to the mean loss of "
            f"the {OF[self.of]} at the end of the run, of {len(run.steps):,} steps",
            soft_wrap=True,
        )
        return replace(influence_of(console, run, rows), asked=OF[self.of])


def _write(table: Path, found: Influence, samples: SampleWeights, folder: Path) -> None:
    values = found.values[samples.index]
    columns = {
        "index": samples.index.numpy(),
        "influence": values.numpy(),
        **origin_columns(samples),
    }
    own = own_columns(folder, samples.index.numpy()) or {}
    columns |= {f"own_{name}" if name in columns else name: cells for name, cells in own.items()}
    with whole_file(table) as file:
        write_by_column(file, columns, highest_first(values))


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
