"""A pile of bytes in a file without a name, which is gone with the process that made it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from metaweight.core.atomic import writing


@dataclass(frozen=True)
class Place:
    """Where the bytes of a tensor lie."""

    offset: int
    size: int


class TensorFile:
    """``folder``: on whose disk it lies; None: where the system has its temporary files.

    Raises WriteError where that disk is full.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        with writing(self._folder):
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
        self.size = 0
        """Bytes."""

    def put(self, value: Tensor) -> Place:
        """Lay the bytes of a contiguous tensor on top; one of a GPU goes by the CPU's memory."""
        content = _bytes(value.cpu().reshape(-1).view(torch.uint8))
        done = 0
        with writing(self._folder):
            while done < len(content):  # one call writes 2 GiB at most
                done += os.pwrite(self._file.fileno(), content[done:], self.size + done)
        place = Place(self.size, done)
        self.size += done
        return place

    def get(self, place: Place) -> Tensor:
        """The bytes [size] uint8, on the CPU."""
        value = torch.empty(place.size, dtype=torch.uint8)
        content, done = _bytes(value), 0
        while done < place.size:
            read = os.preadv(self._file.fileno(), [content[done:]], place.offset + done)
            if not read:
                raise EOFError(f"a temporary file in {self._folder} is shorter than what it held")
            done += read
        return value

    def cut(self, size: int) -> None:
        """Forget all but the first ``size`` bytes."""
        self.size = size
        self._file.truncate(size)

    def close(self) -> None:
        """Give the room back."""
        self._file.close()


def _bytes(value: Tensor) -> memoryview:
    return value.numpy().data
