"""Tensors in a file without a name, which is gone with the process that made it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map, tree_map_only

from metaweight.core.atomic import writing

LEAST = 2**16
"""Bytes of a tensor below which it stays in memory, as a copy."""
T = TypeVar("T")


@dataclass(frozen=True)
class Away:
    """A tensor in the file."""

    offset: int
    size: int
    """Bytes."""
    kind: torch.dtype
    shape: torch.Size
    device: torch.device


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

    def put(self, value: Tensor) -> Away | Tensor:
        """Write a tensor on top; one of a GPU goes by the CPU's memory."""
        if value.layout != torch.strided or value.nbytes < LEAST:
            return value.detach().clone()
        content = _bytes(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8))
        away = Away(self.size, len(content), value.dtype, value.shape, value.device)
        done = 0
        with writing(self._folder):
            while done < away.size:  # one call writes 2 GiB at most
                done += os.pwrite(self._file.fileno(), content[done:], away.offset + done)
        self.size += done
        return away

    def get(self, kept: Away | Tensor) -> Tensor:
        """What ``put`` took, bit for bit, in the order of its dimensions."""
        if isinstance(kept, Tensor):
            return kept
        value = torch.empty(kept.size, dtype=torch.uint8)
        content, done = _bytes(value), 0
        while done < kept.size:
            read = os.preadv(self._file.fileno(), [content[done:]], kept.offset + done)
            if not read:
                raise EOFError(f"a temporary file in {self._folder} is shorter than what it held")
            done += read
        return value.view(kept.kind).view(kept.shape).to(kept.device)

    def cut(self, size: int) -> None:
        """Forget all but the first ``size`` bytes."""
        self.size = size
        self._file.truncate(size)

    def close(self) -> None:
        """Give the room back."""
        self._file.close()


def laid_aside(values: T, folder: Path | None) -> Callable[[], T]:
    """Tensors in dicts and lists, put into a file until the result is called."""
    file = TensorFile(folder)
    kept = tree_map_only(Tensor, file.put, values)

    def fetched() -> T:
        try:
            return tree_map(file.get, kept)  # type: ignore[no-any-return]
        finally:
            file.close()

    return fetched


def _bytes(value: Tensor) -> memoryview:
    return value.numpy().data
