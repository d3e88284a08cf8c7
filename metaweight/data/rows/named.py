"""Training rows that a trusted file names by their place, as `metaweight choose-trusted` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metaweight.data.origins import place_columns
from metaweight.data.rows.cells import cell_text
from metaweight.data.rows.source import Rows
from metaweight.data.rows.targets import label_text


class Named(NamedTuple):
    """Which training rows are trusted, in a file of their own."""

    reasons: list[str]
    """n, where each training row stands among the trusted ones; "" where it does not."""
    notes: tuple[str, ...]
    """What its owner should look at."""


def named_rows(train: Rows, trusted: Sequence[Rows], label: str) -> Named:
    """The rows of ``train`` that the columns file and row of the ``trusted`` files name.

    A file is the same where its name is, in whatever folder.  Where the training rows have such columns, they
    are looked for as ``place_columns`` calls them.
    """
    file, row, _ = place_columns(train.frame.columns)
    reasons: list[str] = [""] * len(train)
    notes: list[str] = []
    naming = [other for other in trusted if {file, row} <= set(other.frame.columns)]
    if not naming:
        return Named(reasons, ())
    names = [Path(one).name for one in train.origins.files]
    places = zip(train.origins.file.tolist(), train.origins.row.tolist(), strict=True)
    at = {(names[one], number): place for place, (one, number) in enumerate(places) if number}
    for other in naming:
        changed = 0
        called = [Path(str(one)).name for one in other.frame[file]]
        for number, (one, line) in enumerate(zip(called, other.frame[row], strict=True)):
            text = label_text(line)
            place = at.get((one, int(text) if text.isdecimal() else 0))
            if place is not None:
                reasons[place] = f"it is trusted: {other.origins[number]}"
            changed += one in names and (place is None or not _same(train, place, other, number, label))
        if changed:
            notes.append(
                f"{changed:,} rows of {other.file} are not what {train.file} has in the row that they name: "
                "where rows were put in or taken out of it since, choose them anew"
            )
        if not set(called) & set(names):
            notes.append(
                f"{other.file} names rows of {called[0] if called else 'no file'} and none of {train.file}: "
                f"where these are its rows, mend the column {file!r}, and they are taken out of training"
            )
    return Named(reasons, tuple(notes))


def _same(train: Rows, place: int, other: Rows, number: int, label: str) -> bool:
    """Whether two rows say the same but for the label, as far as both have a column."""
    columns = [name for name in train.frame.columns if name != label and name in other.frame.columns]
    return all(
        cell_text(train.frame[name].iat[place]) == cell_text(other.frame[name].iat[number])
        for name in columns
    )
