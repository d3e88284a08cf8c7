"""What a user asks for when rows are to be drawn, and the drawing of rows of tables and of sentence pairs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from metaweight.data.rows import Rows, Targets, read_rows, read_targets
from metaweight.data.rows.cells import cell_text
from metaweight.data.rows.parts import label_column
from metaweight.data.rows.targets import BETWEEN, is_empty_cell, label_text, labels_of, of_distinct
from metaweight.data.text import filter_bitext, read_lines
from metaweight.data.text.files import read_pairs
from metaweight.report.choosing.drawing import draw, said_of_each
from metaweight.report.choosing.pictures import of_pictures
from metaweight.report.choosing.sample import LabelKind, Sample
from metaweight.tasks.translation.own_text import LONGEST, paths_of

KINDS: dict[str, LabelKind] = {"classes": "class", "one-logit": "class", "number": "number"}

PARTS = 10
"""Numbers are drawn from so many parts of them, equal in rows, from low to high."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How rows are drawn, and what the user says of the data."""

    size: int | None = None
    """None: 100, or 10 of each class where that is more; half of each class at most."""
    seed: int = 0
    label: str | None = None
    target: str | None = None
    """See ``read_targets``."""
    picture: str | None = None
    """Column of the pictures in a table of them."""
    columns: tuple[str, str] | None = None
    """Those of source and target in a table of sentence pairs."""


def choose(place: str, task: str, choice: Choice) -> Sample:
    """Draw rows of ``place``; ``task``: what they are for, see ``guess_task``.

    Of each class as many as the others, as far as they are there; of numbers evenly from low to high; of rows
    with several labels evenly over the rarest one of each; of rows without labels at random.  Raises
    ValueError for a size below 1 or beyond what there is, for one class, and as readers do.
    """
    if task == "image":
        return of_pictures(
            place,
            label=choice.label,
            picture=choice.picture,
            pick=lambda groups, count: draw(groups, count, choice.size, place, choice.seed),
        )
    if task == "translation":
        return _of_pairs(place, choice)
    if task == "tokens":
        raise ValueError(
            f"{place} holds a label a token: copy some of its sentences into a file, check them there, "
            "and give that as --meta"
        )
    return _of_rows(read_rows(place), choice)


def _of_rows(rows: Rows, choice: Choice) -> Sample:
    label = label_column(rows) if choice.label is None else choice.label
    known = rows.select(~of_distinct(is_empty_cell, rows.column(label)).astype(bool))
    if not len(known):
        raise ValueError(
            f"{rows.file}: {label!r} is empty in every row: which column has the labels (--label)?"
        )
    labels = list(known.column(label))
    targets = read_targets(labels, label, known.origins, kind=choice.target)
    groups, count = _groups(targets, known, label)
    picked = draw(groups, count, choice.size, rows.file, choice.seed)
    kind = KINDS.get(targets.kind, "several")
    if kind == "class":
        note = said_of_each(groups, picked, targets.classes)
    else:
        note = f"{len(picked):,} of {len(known):,} rows, "
        note += "evenly from low to high" if kind == "number" else "evenly over the rarest label of each"
    frame = known.frame.iloc[picked.numpy()]
    cells = [
        [_label(cell, kind) if name == label else cell_text(cell) for cell in frame[name].tolist()]
        for name in frame.columns
    ]
    return Sample(
        rows.file,
        tuple(map(str, frame.columns)),
        tuple(zip(*cells, strict=True)),
        label,
        kind,
        targets.classes,
        known.origins.select(picked),
        notes=(*rows.notes, targets.note, note),
    )


def _label(cell: object, kind: LabelKind) -> str:
    """A label as a trusted file holds it."""
    return BETWEEN.join(labels_of(cell)) if kind == "several" else label_text(cell)


def _groups(targets: Targets, rows: Rows, label: str) -> tuple[torch.Tensor, int]:
    """Among which rows the sample is to be even [N]: classes, or parts of the range of numbers."""
    values = targets.encode(list(rows.column(label)), rows.origins, "training")
    if targets.kind == "number":
        rank, parts = values.argsort(stable=True).argsort(), max(min(PARTS, len(values) // 4), 1)
        return rank * parts // len(values), parts
    if targets.kind == "several":
        return _rarest(values), len(targets.classes) + 1
    return values.long(), len(targets.classes)


def _rarest(labels: torch.Tensor) -> torch.Tensor:
    """Of each row's labels [N, L], 0 or 1, the one that fewest rows have, [N]; L where a row has none."""
    counts = labels.sum(dim=0).expand_as(labels)
    rarest = counts.masked_fill(labels < 0.5, torch.inf).argmin(dim=1)
    return torch.where(labels.sum(dim=1) > 0, rarest, labels.shape[1])


def _of_pairs(place: str, choice: Choice) -> Sample:
    """Of the pairs that a run would train on."""
    paths = paths_of(place)
    if len(paths) == 2:
        read, said = read_lines(*paths), ""
    else:
        read, said = read_pairs(paths[0], columns=choice.columns)
    pairs = filter_bitext(read, max_characters=LONGEST).bitext
    picked = draw(torch.zeros(len(pairs), dtype=torch.int64), 1, choice.size, place, choice.seed)
    chosen = pairs.select(picked)
    return Sample(
        place,
        choice.columns or ("source", "target"),
        tuple(zip(chosen.source, chosen.target, strict=True)),
        origins=chosen.places,
        notes=tuple(filter(None, (said, f"{len(picked):,} of {len(pairs):,} pairs, at random"))),
    )
