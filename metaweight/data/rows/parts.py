"""The parts of a run's rows: training, trusted, validation and test rows, of files or of a set by name."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metaweight.core.registry import did_you_mean
from metaweight.data.origins import LeftOut
from metaweight.data.rows.named import named_rows
from metaweight.data.rows.source import Rows
from metaweight.data.rows.targets import is_empty_cell, of_distinct

LABELS = ("label", "labels", "target", "class", "y", "category")
"""What columns of labels are called, in any case."""
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows by what a run does with them; a part that is None has none."""

    name: str
    train: Rows
    label: str
    """Column of the labels, in every part."""
    meta: Rows | None = None
    valid: Rows | None = None
    test: Rows | None = None
    clean: bool = False
    """Whether the labels of ``train`` count as right."""
    places: Ints | None = None
    """[n], where each training row stands in what was read, from 0; None: they are all of it."""
    marked: Ints | None = None
    """[m], the same of trusted rows that a column of the training rows marks."""
    human: Sequence[Any] | None = None
    """[n], the label that people gave each training row, wrong ones among them, of a set whose ``train`` has
    the right ones."""
    left_out: LeftOut = LeftOut.none()  # noqa: RUF009 (frozen, and empty)
    notes: tuple[str, ...] = ()

    def cells(self, part: Rows) -> Sequence[Any]:
        """The labels [n] of a part, as its file has them."""
        return list(part.column(self.label))


def parts_of(rows: dict[str, Rows], *, label: str | None = None, meta_column: str | None = None) -> Parts:
    """The parts of rows that are read: "train" and, perhaps, "meta", "valid" and "test".

    Training rows without a label are left out.  Raises ValueError that names file, row and column for what
    does not do.
    """
    train = rows["train"]
    places, chosen = np.arange(len(train)), None
    label = label_column(train) if label is None else label
    notes = [note for one in rows.values() for note in one.notes]
    if meta_column is not None:
        marked = train.marked(meta_column)
        trusted = train.select(marked)
        places, chosen = np.flatnonzero(~marked), np.flatnonzero(marked)
        train = train.select(~marked).without(meta_column)
        rows = {**rows, "meta": trusted.without(meta_column)}
        notes.append(f"{len(trusted):,} rows that {meta_column!r} marks are trusted")
    for name, other in rows.items():
        if name != "train":
            other.column(label)
    meta, valid, test = (rows.get(part) for part in ("meta", "valid", "test"))
    parts = Parts(
        train.file, train, label, meta, valid, test, places=places, marked=chosen, notes=tuple(notes)
    )
    parts = _without_trusted(parts)
    empty = of_distinct(is_empty_cell, parts.train.column(label)).astype(bool)
    return without_training(parts, empty, f"no label in {label!r}")


def _without_trusted(parts: Parts) -> Parts:
    """Without the training rows that a trusted file names by their place."""
    trusted = [rows for rows in (parts.meta, parts.valid) if rows is not None]
    reasons, notes = named_rows(parts.train, trusted, parts.label)
    gone = np.array([bool(reason) for reason in reasons], dtype=bool)
    parts = replace(parts, notes=(*parts.notes, *notes))
    return without_training(parts, gone, "they are trusted, in a file of their own", each=reasons)


def label_column(rows: Rows) -> str:
    """The column that is called like one of labels.  Raises ValueError where there is none, or several."""
    names = [str(name) for name in rows.frame.columns]
    plain = {name: name.strip().casefold() for name in names}
    called = [name for wanted in LABELS for name in names if plain[name] == wanted]
    if "x" in plain.values():  # beside an x, y is a place
        called = [name for name in called if plain[name] != "y"]
    if len(called) != 1:
        which = f"{' and '.join(map(repr, called))} may" if called else "no column is called so"
        raise ValueError(
            f"{rows.file}: which column holds the labels? Say --label COLUMN ({which}); it has "
            f"{', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
        )
    return called[0]


def without_training(
    parts: Parts, gone: np.ndarray[Any, np.dtype[np.bool_]], reason: str, *, each: Sequence[str] | None = None
) -> Parts:
    """``parts`` without the training rows where ``gone`` [n], which are left out with the ``reason``.

    ``each`` [n]: reasons of their own.  Raises ValueError where no row stays.
    """
    if not gone.any():
        return parts
    if gone.all():
        raise ValueError(f"{parts.train.file}: every training row is left out: {reason}")
    places = np.arange(len(gone)) if parts.places is None else parts.places
    reasons = [reason] * len(gone) if each is None else each
    own = [said for said, out in zip(reasons, gone, strict=True) if out]
    return replace(
        parts,
        train=parts.train.select(~gone),
        places=places[~gone],
        human=None if parts.human is None else list(itertools.compress(parts.human, ~gone)),
        left_out=parts.left_out.join(left_out(parts.train.select(gone), own)),
        notes=(*parts.notes, f"{len(own):,} training rows are left out: {reason}"),
    )


def left_out(rows: Rows, reasons: Sequence[str]) -> LeftOut:
    """All of ``rows`` with a reason each, and what each says, for somebody to recognise it."""
    texts = (", ".join(map(str, cells))[:200] for cells in rows.frame.itertuples(index=False))
    return LeftOut(rows.origins, tuple(reasons), tuple(texts))


def same_columns(part: Rows, names: Sequence[Any]) -> Rows:
    """``part`` with the columns ``names`` alone, in that order, which training rows have.

    Raises ValueError, with the nearest name, where it lacks one.
    """
    there = list(map(str, part.frame.columns))
    for name in names:
        if name not in there:
            hint = did_you_mean(str(name), there)
            raise ValueError(f"{part.file} has no column {name!r}, which the training rows have.{hint}")
    return replace(part, frame=part.frame[list(names)])
