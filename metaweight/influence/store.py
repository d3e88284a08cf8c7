"""Where the states of a run are kept: in memory, or in a folder that outlives the process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from metaweight.influence.point import Generators, Point
from metaweight.training.checkpoint import CheckpointError, load, save

FOLDER = "states"


class Store(ABC):
    """Points of a run by step."""

    @abstractmethod
    def put(self, step: int, point: Point) -> None:
        """Keep the state before ``step``."""

    @abstractmethod
    def get(self, step: int) -> Point:
        """The state before ``step``.  Raises KeyError, or CheckpointError where it cannot be read."""


class InMemory(Store):
    """Gone with the process."""

    def __init__(self) -> None:
        self._points: dict[int, Point] = {}

    def put(self, step: int, point: Point) -> None:
        """See ``Store``."""
        self._points[step] = point

    def get(self, step: int) -> Point:
        """See ``Store``."""
        return self._points[step]


class OnDisk(Store):
    """A sealed file for each state: whole, or not there.

    ``shapes``: of the student's parameters, which a state fits.
    """

    def __init__(self, folder: Path, shapes: Mapping[str, Any], device: torch.device) -> None:
        self.folder, self._shapes, self._device = folder / FOLDER, dict(shapes), device
        self.folder.mkdir(parents=True, exist_ok=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:08d}.pt"

    def put(self, step: int, point: Point) -> None:
        """See ``Store``.  Raises WriteError where the disk is full."""
        content = {
            "parameters": dict(point.parameters),
            "states": {name: dict(state) for name, state in point.states.items()},
            "buffers": dict(point.buffers),
            "cpu": point.generators.cpu,
            "device": point.generators.device,
            "short": point.short,
        }
        save(self._path(step), content, self._shapes, durable=False)  # the record is, and comes after it

    def get(self, step: int) -> Point:
        """See ``Store``."""
        try:
            content = load(self._path(step), self._shapes)
        except CheckpointError as error:
            raise CheckpointError(
                f"{error}. Without the state before step {step + 1} the run cannot be gone through: delete "
                f"{self.folder.parent}, and it is recorded anew"
            ) from error
        moved = _on(content, self._device)
        generators = Generators(content["cpu"], content["device"])
        short = content.get("short", False)  # states of before this was written have all their digits
        return Point(moved["parameters"], moved["states"], moved["buffers"], generators, short)

    def drop(self, step: int) -> None:
        """Remove the state before ``step``."""
        self._path(step).unlink()


class Rounded(Store):
    """Another store, whose states between the first and the last are rounded to bfloat16.

    ``places``: the steps before which a state is kept.  The newest one keeps all its digits until the next
    lies there, so that a recording that was killed goes on to the same bits.
    """

    def __init__(self, store: Store, places: Sequence[int]) -> None:
        self._store, self._places = store, tuple(places)
        self._short: set[int] = set()
        self._kinds: Point | None = None

    def put(self, step: int, point: Point) -> None:
        """See ``Store``."""
        self._store.put(step, point)
        number = self._places.index(step)
        # the second one before it only where a process was killed just here
        for place in self._places[max(1, number - 2) : number]:
            if place not in self._short:
                whole = self._store.get(place)
                if not whole.short:
                    self._store.put(place, whole.rounded())
                self._short.add(place)

    def get(self, step: int) -> Point:
        """See ``Store``: in the types that the run has, with the digits that are kept."""
        point = self._store.get(step)
        if not point.short:
            return point
        if self._kinds is None:
            self._kinds = self._store.get(self._places[-1]).emptied()
        return point.lengthened(self._kinds)


def _on(value: Any, device: torch.device) -> Any:
    """Tensors on ``device``, but a count of steps, which optimizers keep on the CPU."""
    if isinstance(value, Mapping):
        return {key: item if key == "step" else _on(item, device) for key, item in value.items()}
    return value.to(device) if isinstance(value, torch.Tensor) else value
