"""One process at a time in a folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import filelock

from metaweight.core.atomic import writing
from metaweight.core.contracts import MetaweightError
from metaweight.core.records import Record, read_record, write_record

LOCK, HOLDER = ".lock", ".lock.json"
"""The file that the system locks, and who holds it; neither outlives a normal end."""


class LockedError(MetaweightError):
    """Another process works in the folder: the message says which, and since when."""


class Holder(Record, frozen=True):
    """.lock.json: who holds a folder."""

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def only_one(folder: Path) -> Iterator[str | None]:
    """Hold ``folder`` while the body runs; gives a line about a lock that was left behind, or None.

    The system frees the lock of a process that is gone, however it went.  Raises LockedError where another
    one holds it, WriteError where the folder cannot be written.
    """
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    with writing(folder / LOCK):
        try:
            lock.acquire()
            held = True
        except filelock.Timeout:  # an OSError too
            held = False
    if not held:
        raise LockedError(_refusal(folder))
    try:
        gone = _holder(folder)
        own = Holder(os.getpid(), socket.gethostname(), datetime.now().astimezone().isoformat(" ", "seconds"))
        write_record(folder / HOLDER, own)
        yield None if gone is None else f"{folder}: the lock of {gone}, is taken over: that process is gone"
    finally:
        # the lock file goes while it is held, so that nobody else's can be removed
        for name in (HOLDER, LOCK):
            (folder / name).unlink(missing_ok=True)
        lock.release()


def _refusal(folder: Path) -> str:
    holder = _holder(folder)
    who = f": {holder}" if holder is not None else ""
    stop = f" (kill {holder.pid})" if holder is not None and holder.host == socket.gethostname() else ""
    return f"{folder} is in use{who}; only one process at a time works there: wait for it, or stop it{stop}"


def _holder(folder: Path) -> Holder | None:
    """Who holds, or held, the folder, as far as it is known."""
    try:
        return read_record(Holder, folder / HOLDER)
    except (FileNotFoundError, ValueError):
        return None
