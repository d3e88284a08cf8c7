"""Files that are written whole or not at all, and what is said where one cannot be written."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PART = re.compile(r"\.(\d+)\.part$")
"""The end of the name of what is not whole yet; the number is the process that writes it."""
_WAYS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free space there"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make it writable, or choose another place"),
}


class WriteError(OSError):
    """Something could not be written: the message names it, the reason and what to do."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make a WriteError that names ``path`` of an OSError of what is done inside."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        way = f"; {_WAYS[error.errno]}" if error.errno in _WAYS else ""
        raise WriteError(f"{path} cannot be written: {error.strerror or error}{way}") from error


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A file that appears at ``path`` only when all of it is written.

    ``durable``: whether it outlives a loss of power from then on; else it lies on the disk a moment later.
    Raises WriteError where it cannot be; what was there before is untouched then.
    """
    part = part_of(path)
    with writing(path):
        try:
            with part.open("wb") as file:
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def part_of(path: Path) -> Path:
    """Where this process writes what is to be ``path``."""
    return path.with_name(f"{path.name}.{os.getpid()}.part")


def dead_parts(folder: Path, name: str | None = None) -> list[Path]:
    """What processes that are gone have left half written in ``folder``: of the file ``name``, or any.

    This process counts as gone too, for a new one may have an old one's number: ask before it writes.
    """
    found = []
    for path in folder.iterdir():
        part = PART.search(path.name)
        if part is not None and name in (None, path.name[: part.start()]) and not _runs(int(part[1])):
            found.append(path)
    return found


def remove_parts(folder: Path) -> None:
    """Remove the files that processes that are gone have left half written in ``folder`` and below."""
    for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        for part in dead_parts(place):
            if part.is_file():
                part.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether another process has this number."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
