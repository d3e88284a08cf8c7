"""The states of the steps between two kept ones, while the way back goes through them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from metaweight.influence.point import Point
from metaweight.influence.store import OnDisk
from metaweight.training.checkpoint import shapes_of

ROOM = 2**30
"""Bytes of states that are held in memory at a time; what is more lies on the disk."""


class Scratch:
    """A pile of states: the first ones in memory, those for which there is no room in files.

    ``folder``: where a folder for these is made, which goes with the end of ``with``; None: where the system
    has its temporary files.  Raises WriteError where that disk is full.
    """

    def __init__(self, device: torch.device, folder: Path | None = None) -> None:
        self._device, self._beside = device, folder
        self._held: list[Point] = []
        self._bytes = 0
        self._count = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._disk: OnDisk | None = None

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, point: Point) -> None:
        """Lay one on top."""
        size = point.size()
        if self._disk is None and self._bytes + size <= ROOM:
            self._held.append(point)
            self._bytes += size
        else:
            self._files(point).put(self._count, point)
        self._count += 1

    def pop(self) -> Point:
        """Take the top one.  Raises IndexError where there is none."""
        if self._disk is None or self._count <= len(self._held):
            point = self._held.pop()
            self._count -= 1
            return point
        self._count -= 1
        point = self._disk.get(self._count)
        self._disk.drop(self._count)
        return point

    def _files(self, point: Point) -> OnDisk:
        if self._disk is None:
            self._folder = tempfile.TemporaryDirectory(prefix="scratch-", dir=self._beside)
            shapes = shapes_of("student", point.parameters)
            self._disk = OnDisk(Path(self._folder.name), shapes, self._device)
        return self._disk
