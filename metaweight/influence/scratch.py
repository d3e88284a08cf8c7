"""The states of the steps between two kept ones, while the way back goes through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaweight.influence.point import Point
from metaweight.influence.tensor_file import Away, TensorFile
from metaweight.student.student import Named

ROOM = 2**30
"""Bytes of states that are held in memory at a time; what is more lies on the disk."""


class Scratch:
    """A pile of states: the first ones in memory, those for which there is no room in a file.

    ``folder``: on whose disk the file lies, which goes with the process; None: where the system has its
    temporary files.  ``room``: bytes of states in memory.  Raises WriteError where that disk is full.
    """

    def __init__(self, folder: Path | None = None, room: int = ROOM) -> None:
        self._folder, self._room = folder, room
        self._pile: list[tuple[Point, int, int]] = []
        """Each with its bytes in memory, and those that the file had below it."""
        self._file: TensorFile | None = None

    def __len__(self) -> int:
        return len(self._pile)

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        self._pile.clear()
        if self._file is not None:
            self._file.close()

    def add(self, point: Point) -> None:
        """Lay one on top."""
        below = 0 if self._file is None else self._file.size
        size = point.size()
        if size > self._room:
            point, size = _mapped(point, self._put), 0
        self._room -= size
        self._pile.append((point, size, below))

    def complete(self, gradient: Named, losses: Tensor) -> None:
        """Give the top one the gradient of its step, copied, and its losses."""
        point, size, below = self._pile[-1]
        change = torch.clone if size else self._put
        copied: dict[str, Any] = {name: change(value) for name, value in gradient.items()}
        more = sum(value.nbytes for value in gradient.values()) if size else 0
        self._room -= more
        self._pile[-1] = (replace(point, gradient=copied, losses=losses), size + more, below)

    def pop(self) -> Point:
        """Take the top one.  Raises IndexError where there is none."""
        point, size, below = self._pile.pop()
        self._room += size
        if size or self._file is None:
            return point
        whole = _mapped(point, self._get)
        self._file.cut(below)
        return whole

    def _put(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if self._file is None:
            self._file = TensorFile(self._folder)
        return self._file.put(value)

    def _get(self, value: Any) -> Any:
        return self._file.get(value) if isinstance(value, Away) and self._file is not None else value


def _mapped(point: Point, change: Callable[[Any], Any]) -> Point:
    """All tensors but the generators' changed alike."""

    def each(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: change(value) for name, value in values.items()}

    return replace(
        point,
        parameters=each(point.parameters),
        states={name: each(state) for name, state in point.states.items()},
        buffers=each(point.buffers),
        gradient=each(point.gradient),
    )
