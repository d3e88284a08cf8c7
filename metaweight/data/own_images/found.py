"""The pictures of one part of a user's own data as they were found: labelled, placed, not yet opened."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from metaweight.data.origins import LeftOut, Origins


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the user says of own pictures, wherever they lie."""

    label: str | None = None
    """Column of the label; None: guessed, see the kinds of source."""
    picture: str | None = None
    """Column of the pictures or their paths; None: guessed."""
    meta_column: str | None = None
    """Column of the training data that marks trusted rows."""


@dataclass(frozen=True, eq=False)
class Found:
    """n labelled pictures of one source."""

    place: str
    """The source, as the user named it."""
    open: Callable[[int], object]
    """Position -> the picture, as ``read_picture`` takes one."""
    labels: tuple[str, ...]
    """n names of classes; "" where a picture has no label."""
    origins: Origins
    classes: tuple[str, ...] | None = None
    """All names in their order, of a source that lists them."""
    marks: Tensor | None = None
    """[n] bool, which are trusted, of a source with such a column."""
    label: str = ""
    """Column of the labels, of a source that has columns."""
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """n cells of each of its other columns, but of the marks, and of the pictures where these are no text."""
    left_out: LeftOut = field(default_factory=LeftOut.none)
    """Pictures of the source that have no class."""
    notes: tuple[str, ...] = ()
    """What the owner should know of how the source was read."""
    advice: str = ""
    """What to look at where no picture opens; may be empty."""

    def select(self, positions: Sequence[int]) -> Found:
        """Those at ``positions``; what was left out and said stays with them."""
        return replace(
            self,
            open=functools.partial(_at, self.open, tuple(positions)),
            labels=tuple(self.labels[place] for place in positions),
            origins=self.origins.select(list(positions)),
            marks=None if self.marks is None else self.marks[list(positions)],
            columns={name: [cells[at] for at in positions] for name, cells in self.columns.items()},
        )


def _at(opened: Callable[[int], object], positions: Sequence[int], place: int) -> object:
    return opened(positions[place])
