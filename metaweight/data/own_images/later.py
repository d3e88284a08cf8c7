"""Own pictures that come after a run: read as its pictures were, with the classes that it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metaweight.data.origins import LeftOut, Origins
from metaweight.data.own_images.classes import labelled, numbers_of
from metaweight.data.own_images.found import Wanted
from metaweight.data.own_images.opening import opened
from metaweight.data.own_images.sources import find, has_columns
from metaweight.data.pictures import Reading, stacked, what_was_done


@dataclass(frozen=True, eq=False)
class LaterImages:
    """n pictures, of which m have a label and open."""

    images: Tensor
    """[m, C, S, S] uint8."""
    labels: Tensor
    """[m] int64."""
    places: Tensor
    """[m] int64, which of the n these are."""
    origins: Origins
    """[n]."""
    given: Sequence[str]
    """n names of classes; "" where a picture has none."""
    columns: Mapping[str, Sequence[Any]]
    """n cells of each of a table's other columns."""
    left_out: LeftOut
    notes: tuple[str, ...]


def load_later(
    place: str, classes: Sequence[str], *, channels: int, size: int, ground: str, wanted: Wanted, train: str
) -> LaterImages:
    """The pictures of ``place``, as ``find`` takes it, resized to ``size`` pixels a side.

    ``wanted``: columns, where it has such; ``train``: what the training pictures are called.  Raises
    ValueError that names place and file for what cannot be used, for a class that is none of ``classes``, and
    for colour where ``channels`` is 1.
    """
    found = find("new", place, wanted if has_columns(place) else Wanted())
    with_label = labelled(found)
    if not with_label:
        raise ValueError(f"{place}: no picture has a label, and a weight is of a picture with its label")
    own = found.select(with_label)
    numbers_of(own, classes, "new", train)
    reading = Reading(ground, size, crop=True, option="--picture-ground ")
    whole, broken = opened(own, reading)
    pixels = stacked({"new": (whole.pictures, whole.found.origins)})["new"]
    if pixels.shape[1] > channels:
        place_ = next(at for at, one in enumerate(whole.pictures) if one.pixels.ndim == 3)
        raise ValueError(
            f"{whole.found.origins[place_]} is in colour, and the run's pictures ({train}) are grey: make it "
            "grey, or rate with a run on pictures in colour"
        )
    gone = set(broken.origins.cells())
    cells = found.origins.cells()
    places = [at for at in with_label if cells[at] not in gone]
    without = [at for at, label in enumerate(found.labels) if not label]
    count = len(without)
    unlabelled = LeftOut(found.origins.select(without), ("it has no label",) * count, ("",) * count)
    return LaterImages(
        pixels.expand(-1, channels, -1, -1).contiguous(),
        numbers_of(whole.found, classes, "new", train),
        torch.tensor(places, dtype=torch.int64),
        found.origins,
        found.labels,
        found.columns,
        found.left_out.join(unlabelled).join(broken),
        (*found.notes, *what_was_done(whole.pictures, reading)),
    )
