"""The image set of a user's own pictures: read, labelled, kept apart."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from metaweight.data.image_set import ImageSet
from metaweight.data.origins import LeftOut, Origins
from metaweight.data.own_images.classes import classes_of, labelled, numbers_of, require_labelled
from metaweight.data.own_images.found import Found, Wanted
from metaweight.data.own_images.opening import Opened, class_of, opened, reading_of, shared_with
from metaweight.data.own_images.sources import find, has_columns
from metaweight.data.pictures import first_of, stacked, what_was_done


@dataclass(frozen=True, kw_only=True)
class OwnImages:
    """Own pictures as a run asks for them."""

    train: str
    meta: str | None = None
    valid: str | None = None
    test: str | None = None
    """Where the parts lie, see ``sources.find``."""
    columns: Wanted = field(default_factory=Wanted)
    size: int | None = None
    """Pixels of a side; None: see ``opening.reading_of``."""
    ground: str = "white"
    """What lies under transparent pixels."""
    drop: bool = False
    """Whether training pictures that a trusted part has too are dropped; else they are an error."""

    @property
    def parts(self) -> dict[str, str]:
        """Part -> its place, for those that are named."""
        named = {"train": self.train, "meta": self.meta, "valid": self.valid, "test": self.test}
        return {part: place for part, place in named.items() if place is not None}


def load_own(own: OwnImages) -> ImageSet:
    """The pictures that ``own`` names: training, trusted and validation ones in one numbering, in this order.

    Pictures that do not open, and training ones without a label, are left out.  Raises ValueError that names
    place, file or row for what cannot be used, and for a picture that two parts share.
    """
    found = _found(own)
    left_out = functools.reduce(LeftOut.join, (one.left_out for one in found.values()))
    found["train"], unlabelled = _labelled(found["train"])
    for part in list(found)[1:]:
        require_labelled(found[part], part)
    classes = classes_of(found["train"])
    for part, one in found.items():
        numbers_of(one, classes, part, own.train)  # before the pictures are read, which takes longest
    reading, resized = reading_of(found.values(), own.size, own.ground)
    parts, unread = {}, LeftOut.none()
    for part, one in found.items():
        parts[part], broken = opened(one, reading)
        unread = unread.join(broken)
    shared = LeftOut.none()
    if own.drop:
        parts["train"], shared = _without_shared(parts)
    _require_apart(parts)
    classes_of(parts["train"].found)
    counted = {
        "without a label": unlabelled,
        "that cannot be read": unread,
        "that a trusted part has": shared,
    }
    notes = [
        *(note for one in found.values() for note in one.notes),
        *([resized] if resized else []),
        *what_was_done([picture for one in parts.values() for picture in one.pictures], reading),
        *(
            f"1 picture {what} is left out: {some.origins[0]}"
            if len(some) == 1
            else f"{len(some):,} pictures {what} are left out, the first {some.origins[0]}"
            for what, some in counted.items()
            if len(some)
        ),
    ]
    return _image_set(own, parts, classes, functools.reduce(LeftOut.join, counted.values(), left_out), notes)


def _found(own: OwnImages) -> dict[str, Found]:
    """The parts in the order train, meta, valid, test."""
    columns, plain = own.columns, Wanted(label=own.columns.label, picture=own.columns.picture)
    if plain != Wanted() and not any(map(has_columns, own.parts.values())):
        option, name = ("label", plain.label) if plain.label is not None else ("picture", plain.picture)
        raise ValueError(
            f"{option} names the column {name!r}, but no part is a table: leave it out, or name a table"
        )
    found = {"train": find("train", own.train, columns)}
    whole, marks = found["train"], found["train"].marks
    if marks is not None:
        found["train"] = whole.select((~marks).nonzero().flatten().tolist())
        trusted = whole.select(marks.nonzero().flatten().tolist())
        said = f"{len(trusted.labels):,} rows of {own.train} are marked as trusted by {columns.meta_column!r}"
        found["meta"] = replace(trusted, left_out=LeftOut.none(), notes=(said,))
    return found | {part: find(part, place, plain) for part, place in own.parts.items() if part != "train"}


def _labelled(train: Found) -> tuple[Found, LeftOut]:
    """The training pictures that have a label, and those that have none."""
    without = [position for position, label in enumerate(train.labels) if not label]
    count = len(without)
    left_out = LeftOut(train.origins.select(without), ("it has no label",) * count, ("",) * count)
    return (train.select(labelled(train)) if count else train), left_out


def _without_shared(parts: Mapping[str, Opened]) -> tuple[Opened, LeftOut]:
    """The training pictures that no other part has, and those that one has."""
    train, reasons = parts["train"], dict[int, str]()
    for part in parts:
        for position, other in shared_with(parts, "train", part) if part != "train" else ():
            reasons.setdefault(position, f"the same picture is in {part}: {parts[part].found.origins[other]}")
    kept = [position for position in range(len(train.pictures)) if position not in reasons]
    if not kept:
        raise ValueError(
            f"no picture of {train.found.place} is left to train on: all are among the trusted ones"
        )
    return train.select(kept), LeftOut(
        train.found.origins.select(list(reasons)),
        tuple(reasons.values()),
        tuple(class_of(train.found.labels[position]) for position in reasons),
    )


def _require_apart(parts: Mapping[str, Opened]) -> None:
    """Raise ValueError where train shares a picture with a trusted part, or meta with valid or test."""
    for part, held in product(("train", "meta"), ("meta", "valid", "test")):
        if part == held or part not in parts or held not in parts:
            continue
        shared = shared_with(parts, part, held)
        if not shared:
            continue
        ours, theirs = parts[part].found, parts[held].found
        pairs = [f"{ours.origins[one]} is {theirs.origins[other]}" for one, other in shared]
        way = "remove them, or --overlap drop takes them out of train" if part == "train" else "remove them"
        raise ValueError(
            f"{len(shared):,} of the {part} pictures ({ours.place}) are among the {held} pictures "
            f"({theirs.place}) too: {first_of(pairs)}; {way}"
        )


def _image_set(
    own: OwnImages,
    parts: Mapping[str, Opened],
    classes: tuple[str, ...],
    left_out: LeftOut,
    notes: Sequence[str],
) -> ImageSet:
    pixels = stacked({part: (one.pictures, one.found.origins) for part, one in parts.items()})
    labels = {part: numbers_of(one.found, classes, part, own.train) for part, one in parts.items()}
    behind = [part for part in parts if part != "test"]
    trusted, first = dict[str, Tensor](), 0
    for part in behind:
        trusted[part] = torch.arange(first, first + len(labels[part]))
        first += len(labels[part])
    del trusted["train"]
    return ImageSet(
        name=own.train if own.train.startswith("hf:") else Path(own.train).expanduser().resolve().name,
        train_images=torch.cat([pixels[part] for part in behind]),
        train_labels=torch.cat([labels[part] for part in behind]),
        test_images=pixels.get("test", pixels["train"][:0]),
        test_labels=labels.get("test", labels["train"][:0]),
        classes=classes,
        clean=False,
        trusted=trusted,
        train_origins=functools.reduce(Origins.join, (parts[part].found.origins for part in behind)),
        test_origins=parts["test"].found.origins if "test" in parts else Origins.of("", ()),
        left_out=left_out,
        source="own pictures",
        notes="; ".join(dict.fromkeys(notes)),
        label=parts["train"].found.label,
        columns={
            # of trusted pictures there may be a folder
            name: [cell for part in behind for cell in _cells(parts[part], name)]
            for name in parts["train"].found.columns
        },
    )


def _cells(part: Opened, name: str) -> Sequence[object]:
    return part.found.columns.get(name) or [""] * len(part.pictures)
