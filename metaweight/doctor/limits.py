"""What a container, a control group of Linux, lets this process have of the machine's CPUs and memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_ENDLESS = 1 << 60
"""Bytes from which version 1 means no limit; it has no word for that."""


def cpu_quota(root: Path = ROOT, own: Path = OWN) -> float | None:
    """CPUs' worth of time that this process may use; None: no limit is set, or none is known.

    The narrowest of its group and of those above it, of both versions of control groups.
    """
    quotas = []
    for folder in _groups(root, own, "cpu"):
        words = _words(folder / "cpu.max")
        words = words or _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(words) == 2 and words[0] not in ("max", "-1"):
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def memory_limit(root: Path = ROOT, own: Path = OWN) -> int | None:
    """Bytes of memory that this process's group may use; None as in ``cpu_quota``."""
    limits = []
    for folder in _groups(root, own, "memory"):
        words = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        if words and words[0] != "max" and int(words[0]) < _ENDLESS:
            limits.append(int(words[0]))
    return min(limits, default=None)


def _groups(root: Path, own: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's group and of those above it; a container sees its own as the root."""
    if not own.is_file():
        return
    for line in own.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root  # version 2 has one tree for all controllers
        place = base / path.lstrip("/")
        yield from (folder for folder in (place, *place.parents) if folder.is_relative_to(base))


def _words(file: Path) -> list[str]:
    """What stands in a file of one line; nothing where it is not there or not to be read."""
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError:
        return []
