"""``rate``: what a run that has ended says of rows that were never trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaweight.integrations.fit.given import as_dataset, as_rows, is_place
from metaweight.tasks.module.data import Places
from metaweight.tasks.rating import New, Rater, load_rater
from metaweight.tasks.rows.rating import RowsReader

if TYPE_CHECKING:
    import pandas as pd


def rate(
    folder: Path | str, rows: Any, *, batch_size: int | None = None, device: str | None = None
) -> pd.DataFrame:
    """The weight of every row of ``rows``, with the label that it was given, by the run in ``folder``.

    Example: ``metaweight.rate("runs/jury-...", "new.csv")["weight"]``

    ``rows``: a file or folder as `metaweight rate` takes them; of tables, texts and sentences of labelled
    tokens also a DataFrame or a pair (X, y), as ``metaweight.fit`` takes them.  Gives a row each in their
    order: file, row, name, your own columns, given_label, weight, suggested_label, share; NaN where a row has
    no label.  Raises as ``load_rater``, and ValueError for what cannot be read and for a class that the run
    does not know.
    """
    rater = load_rater(folder, device=device)
    return rater.rate(read_new(rater, rows), batch_size=batch_size).frame()


def read_new(rater: Rater, rows: Any, *, label: str | None = None) -> New:
    """Rows of any form as the run of ``rater`` reads them.

    ``label``: its column in a table for a module of the user's own.  Raises TypeError and ValueError for what
    cannot be read.
    """
    reader = rater.reader
    if not isinstance(reader, RowsReader):
        if not is_place(rows):
            raise TypeError(f"rows of this run are files or a folder, got a {type(rows).__name__}")
        return reader.read(str(rows))
    if isinstance(reader.encoder, Places):
        data = reader.encoder.with_parts({"new": as_dataset(rows, "new", label=label)})
        return reader.with_encoder(Places(data)).of_rows(data.rows("new"))
    if is_place(rows):
        return reader.read(str(rows))
    return reader.of_rows(as_rows(rows, "new", tagged=reader.targets.kind == "tokens"))
