"""A file that ends in the digest of what stands before it, so that a changed byte is noticed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO

MARK = b"\nmetaweight blake2b "
DIGEST = 16
_BLOCK = 1 << 20


class SealedFile:
    """Passes what is written on to ``file``; ``close`` writes the seal behind it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.blake2b(digest_size=DIGEST)
        self.failure: OSError | None = None
        """Of a write: what calls ``write`` may hide it under an error of its own."""

    def write(self, content: bytes) -> int:
        """Write and count in."""
        self._digest.update(content)
        try:
            return self._file.write(content)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        """As of any file."""
        self._file.flush()

    def close(self) -> None:
        """Write the seal; the file itself stays open."""
        self._file.write(MARK + self._digest.digest())


def seal_fits(path: Path) -> bool | None:
    """Whether ``path`` is as it was sealed; None where it does not end in a seal."""
    end = len(MARK) + DIGEST
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) - end
        if size < 0:
            return None
        file.seek(size)
        seal = file.read(end)
        if not seal.startswith(MARK):
            return None
        file.seek(0)
        found = hashlib.blake2b(digest_size=DIGEST)
        while size:
            block = file.read(min(size, _BLOCK))
            if not block:
                return False
            found.update(block)
            size -= len(block)
    return seal == MARK + found.digest()
