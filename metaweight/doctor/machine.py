"""The machine that this process runs on: CPUs, memory, devices, places, a compiler."""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from metaweight.core.records import Record
from metaweight.doctor.limits import cpu_quota, memory_limit
from metaweight.training.environment import processor

SHARED = Path("/dev/shm")
"""Where Linux keeps what processes share."""
DRIVER = Path("/proc/driver/nvidia/version")
"""NVIDIA's driver for Linux says there that it is loaded."""


class Device(Record, frozen=True):
    """One that torch can compute on beside the CPU."""

    kind: str
    """cuda (ROCm too) or mps."""
    name: str
    memory: int | None
    """Bytes."""
    capability: str | None
    """CUDA's, as 9.0."""
    bf16: bool | None
    """Whether it multiplies in bfloat16 itself; None: not known."""


class Place(Record, frozen=True):
    """A folder: its path, and how many bytes its disk has and has free; None: not known."""

    path: str
    total: int | None
    free: int | None
    writable: bool


class Machine(Record, frozen=True, kw_only=True):
    """Sizes in bytes; None: not known, or not there."""

    system: str
    libc: str
    """With its version; empty where it is none of Linux's."""
    processor: str
    cpus: int
    """That the machine shows."""
    affinity: int
    """CPUs that this process may run on."""
    quota: float | None
    """CPUs' worth of time that its container has."""
    usable_cpus: int
    """What both leave, at least 1."""
    memory: int | None
    memory_limit: int | None
    """Of its container."""
    devices: tuple[Device, ...]
    nvidia_driver: bool
    """Whether a driver for NVIDIA's GPUs is loaded, whatever torch makes of it."""
    compiler: str | None
    """The C++ compiler that torch.compile would call, and its version."""
    bf16_pace: float
    """How many times as fast as in float32 this CPU multiplies matrices in bfloat16, measured."""
    temporary: Place
    shared_memory: Place | None
    open_files: int | None
    """That this process may have open; None: no limit is known."""


def machine_here() -> Machine:
    """Looked up and measured now; takes tenths of a second, and begins work with a GPU where there is one."""
    affinity, quota = _affinity(), cpu_quota()
    shared = place_of(SHARED) if SHARED.is_dir() else None
    return Machine(
        system=platform.platform(),
        libc=" ".join(filter(None, platform.libc_ver())),
        processor=processor(),
        cpus=os.cpu_count() or 1,
        affinity=affinity,
        quota=quota,
        usable_cpus=usable(affinity, quota),
        memory=_memory(),
        memory_limit=memory_limit(),
        devices=_devices(),
        nvidia_driver=DRIVER.is_file(),
        compiler=_compiler(),
        bf16_pace=bf16_pace(),
        temporary=place_of(Path(os.environ.get("TMPDIR") or tempfile.gettempdir())),
        shared_memory=shared,
        open_files=_open_files(),
    )


def usable(affinity: int, quota: float | None) -> int:
    """Threads that find a CPU: of a share of one CPU too there is one."""
    return max(1, affinity if quota is None else min(affinity, math.ceil(quota)))


def place_of(path: Path) -> Place:
    """A folder, tried by writing a file of no length; the home folder is ``~`` in its name."""
    try:
        with tempfile.TemporaryFile(dir=path):
            writable = True
    except OSError:
        writable = False
    home = Path(os.path.expanduser("~"))
    inside = len(home.parts) > 1 and path.is_relative_to(home)  # in containers / is home at times
    shown = Path("~") / path.relative_to(home) if inside else path
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return Place(str(shown), None, None, writable)
    return Place(str(shown), usage.total, usage.free, writable)


def bf16_pace(size: int = 256) -> float:
    """Time of a product of two matrices [size, size] on the CPU in float32, over that in bfloat16.

    The best of three each: below 1 a CPU only imitates bfloat16.
    """
    seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.full((size, size), 0.5, dtype=dtype, device="cpu")
        times = []
        for _ in range(4):
            start = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - start)
        seconds.append(min(times[1:]))  # the first one loads what multiplies
    return seconds[0] / seconds[1]


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def _devices() -> tuple[Device, ...]:
    devices = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            capability = f"{about.major}.{about.minor}"
            bf16 = about.major >= 8 if torch.version.hip is None else None
            devices.append(Device("cuda", about.name, about.total_memory, capability, bf16))
    if torch.backends.mps.is_available():
        devices.append(Device("mps", processor(), None, None, None))
    return tuple(devices)


def _compiler() -> str | None:
    """The first line of what ``CXX``, or the system's compiler, says of itself."""
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    path = shutil.which(os.environ.get("CXX") or usual)
    if path is None:
        return None
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError:
        return None
    lines = (said.stdout or said.stderr).splitlines()
    return lines[0].strip() if lines else Path(path).name


def _open_files() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
