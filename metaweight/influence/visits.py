"""What each step of a run with a teacher was taken with, kept beside the states."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaweight.influence.point import Generators
from metaweight.training.checkpoint import load, save

FOLDER = "visits"


@dataclass(frozen=True)
class Visit:
    """Of one step."""

    weights: Tensor
    """[U], of its units, on the CPU."""
    written_out: bool = False
    """Whether attention was in the form that engines differentiate."""
    after: Generators | None = None
    """torch's global generators after the step, where it drew from them."""


class Visits:
    """Visits by step, in a file for each stretch of steps that were written together.

    Those that follow each other are in memory until ``write``; of the files the last one read is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self._new: dict[int, Visit] = {}
        self._read: dict[int, Visit] = {}
        self._starts = sorted(int(path.stem) for path in self.folder.glob("*.pt"))

    def note(self, step: int, visit: Visit) -> None:
        """Keep what ``step`` was taken with."""
        self._new[step] = visit

    def of(self, step: int) -> Visit:
        """What ``step`` was taken with.  Raises KeyError, or CheckpointError where it cannot be read."""
        if step in self._new:
            return self._new[step]
        if step not in self._read:
            place = bisect_right(self._starts, step)
            if not place:
                raise KeyError(f"no weights of step {step + 1} are kept in {self.folder}")
            self._read = _visits(load(self._path(self._starts[place - 1]), {}))
        return self._read[step]

    def write(self) -> None:
        """Move what is in memory into a file.  Raises WriteError where the disk is full."""
        if not self._new:
            return
        start = min(self._new)
        save(self._path(start), _plain(self._new), {}, durable=False)  # the run's record is
        self._starts = sorted({*self._starts, start})
        self._new = {}

    def begin(self, step: int) -> None:
        """``step`` comes next: forget it and all later ones."""
        self._new, self._read = {}, {}
        for start in self._starts:
            if start >= step:
                self._path(start).unlink()
        self._starts = [start for start in self._starts if start < step]

    def _path(self, start: int) -> Path:
        return self.folder / f"{start:08d}.pt"


def _plain(visits: Mapping[int, Visit]) -> dict[str, Any]:
    order = sorted(visits)
    after = [visits[step].after for step in order]
    return {
        "first": order[0],
        "weights": [visits[step].weights for step in order],
        "written out": [visits[step].written_out for step in order],
        "after": [None if one is None else [one.cpu, one.device] for one in after],
    }


def _visits(content: Mapping[str, Any]) -> dict[int, Visit]:
    rows = zip(content["weights"], content["written out"], content["after"], strict=True)
    return {
        step: Visit(weights, out, None if after is None else Generators(*after))
        for step, (weights, out, after) in enumerate(rows, start=content["first"])
    }


def drawn(before: Generators, after: Generators) -> Generators | None:
    """``after`` where something was drawn since ``before``."""
    same = torch.equal(before.cpu, after.cpu) and (
        before.device is None or after.device is None or torch.equal(before.device, after.device)
    )
    return None if same else after
