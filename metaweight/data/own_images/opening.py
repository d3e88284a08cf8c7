"""From pictures that were found to pixels of one size; those that do not open are left out by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b

from metaweight.core.counting import counted
from metaweight.data.origins import LeftOut
from metaweight.data.own_images.found import Found
from metaweight.data.pictures import Picture, Reading, first_of, read_pictures, upright_size

LARGEST = 64
"""Pixels of a side that larger pictures are resized to, unless the user says otherwise."""
SMALLEST = 8
"""Pixels of a side that the models need."""


@dataclass(frozen=True, eq=False)
class Opened:
    """The pictures of one part, n of them, open."""

    found: Found
    """Where they came from and what class they have."""
    pictures: list[Picture]

    @cached_property
    def contents(self) -> list[bytes]:
        """A digest of the pixels of each."""
        return [
            blake2b(f"{one.pixels.shape}".encode() + one.pixels.tobytes(), digest_size=16).digest()
            for one in self.pictures
        ]

    def select(self, positions: list[int]) -> Opened:
        """Those at ``positions``."""
        return Opened(self.found.select(positions), [self.pictures[place] for place in positions])


def reading_of(parts: Iterable[Found], size: int | None, ground: str) -> tuple[Reading, str]:
    """How all pictures are read, and what is to be said of it.

    Pictures that are all square, of one size from 8 to 64 pixels a side, stay as they are.  Others have their
    shorter side resized to ``size``, by default the most common shorter side but at least 8 and at most 64,
    and keep the middle of the longer one.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    for found in parts:
        count = len(found.labels)
        for position in counted(range(count), f"sizes of the pictures of {found.place}", count):
            try:
                sizes[upright_size(found.open(position))] += 1
            except ValueError:  # it is named where it is read
                continue
    shorter = Counter[int]()
    for shape, count in sizes.items():
        shorter[min(shape)] += count
    usual = shorter.most_common(1)[0][0] if shorter else LARGEST
    side = min(max(usual, SMALLEST), LARGEST) if size is None else size
    reading = Reading(ground, side, crop=True, option="--picture-ground ")
    if set(sizes) <= {(side, side)}:
        return replace(reading, size=None), ""
    (low, high), shapes = (min(sizes), max(sizes)), len(sizes)
    span = f"{low[0]}x{low[1]}" + (f" to {high[0]}x{high[1]}, {shapes} sizes" if shapes > 1 else "")
    return reading, (
        f"pictures of {span}, resized to {side}x{side}: the shorter side, and of the longer one the middle "
        "(--picture-size)"
    )


def opened(found: Found, reading: Reading) -> tuple[Opened, LeftOut]:
    """The pictures that open, and those that do not with the reason.  Raises ValueError where none opens."""
    count = len(found.labels)
    cells = (found.open(position) for position in range(count))
    pictures, reasons = read_pictures(counted(cells, f"reading {found.place}", count), reading)
    origins = found.origins.select(list(reasons))
    left_out = LeftOut(
        origins,
        tuple(f"the picture cannot be read: {reason}" for reason in reasons.values()),
        tuple(class_of(found.labels[position]) for position in reasons),
    )
    if len(reasons) == len(pictures):
        broken = [f"{o}: {reason}" for o, reason in zip(origins, reasons.values(), strict=True)]
        raise ValueError(
            f"{found.place}: none of its {len(pictures):,} pictures can be read: {first_of(broken)}"
            + (f". {found.advice}" if found.advice else "")
        )
    whole = [position for position in range(len(pictures)) if position not in reasons]
    return Opened(found.select(whole), [picture for picture in pictures if picture is not None]), left_out


def class_of(label: str) -> str:
    """What ``left_out.csv`` says of a picture's class; empty where it has none."""
    return f"class {label}" if label else ""


def shared_with(parts: Mapping[str, Opened], part: str, held: str) -> list[tuple[int, int]]:
    """(position in ``part``, position in ``held``) of pictures that are the same."""
    places: dict[bytes, int] = {}
    for place, content in enumerate(parts[held].contents):
        places.setdefault(content, place)
    return [
        (place, places[content]) for place, content in enumerate(parts[part].contents) if content in places
    ]
