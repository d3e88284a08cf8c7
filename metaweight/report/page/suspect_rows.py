"""The rows that a run suspects most, as cells that the page's own script searches and turns over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from metaweight.core.shown import shown
from metaweight.data.origins import COLUMNS
from metaweight.report.html import script_data
from metaweight.report.own_rows import own_columns
from metaweight.report.page.exhibits import THUMBNAIL, Sample, exhibits
from metaweight.report.page.study import ReadRun
from metaweight.report.suspects import Suspects, own_name

MOST = 5000
"""Rows that the page holds; the files have all."""
CELLS = 4_000_000
"""Characters of all cells together; then there are fewer rows."""
PICTURES = 200
"""Rows that show a picture."""
LONG = 160
"""Characters of a cell that are shown."""
RESULTS = ("given_label", "suggested_label", "share", "mean_weight", "loss")


@dataclass(frozen=True)
class Rows:
    """Rows in order, the least weight first."""

    shown: int
    suspects: int
    """Of those that are shown."""
    file: str
    """The one that all rows are of; empty where they are of several, or it is not known."""
    data: Markup
    """JSON: names of the columns, a list of cells for each row, whether it is a suspect before them; and
    pictures of the first rows."""


def rows_of(found: Suspects, run: ReadRun, names: Sequence[str]) -> Rows:
    """The first ones, at most ``MOST``: where each is, its labels and figures, the user's own columns.

    Raises ValueError where a file of the run's folder is damaged.
    """
    places = found.order[:MOST]
    first = found.samples.select(places)
    index = first.index.tolist()
    own = own_columns(run.folder, index)
    table = Suspects(first).columns(names=names)  # in order they are already
    files = set(table["file"])
    where = [name for name in COLUMNS if any(table[name]) and (name != "file" or len(files) > 1)]
    where = where or ["index"]
    columns = {name: table[name] for name in (*where, *RESULTS) if name in table}
    given = [str(cell) for cell in table.get("given_label", ())]
    more = {own_name(name): cells.to_pylist() for name, cells in (own or {}).items()}
    columns |= {name: cells for name, cells in more.items() if cells != given}
    suspect = found.is_suspect[places].tolist()
    rows: list[list[Any]] = []
    room = CELLS
    for bad, *cells in zip(suspect, *columns.values(), strict=True):
        texts = [_cell(cell) for cell in cells]
        room -= sum(map(len, texts))
        if room < 0:
            break
        rows.append([int(bad), *texts])
    pictures = _pictures(run, first, len(rows)) if run.config.task == "image" else []
    data = {"columns": list(columns), "rows": rows, "pictures": pictures}
    file = files.pop() if len(files) == 1 else ""
    return Rows(len(rows), sum(row[0] for row in rows), file, script_data(data))


def _pictures(run: ReadRun, first: Any, count: int) -> list[str]:
    """A small one for each of the first rows; none where the data cannot be had."""
    clean = [None] * len(first.index) if first.clean is None else first.clean.tolist()
    samples = [Sample(int(first.index[at]), at, clean[at]) for at in range(min(PICTURES, count))]
    found = exhibits(run, samples, largest=THUMBNAIL).samples
    return [found[one.row].picture for one in samples if one.row in found]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    text = shown(str(value))
    return text if len(text) <= LONG else f"{text[:LONG]}…"
