"""Traps of the machine: too many threads, too little room, what is missing."""

from __future__ import annotations

from collections.abc import Iterator

from metaweight.doctor.facts import Facts
from metaweight.doctor.machine import Place
from metaweight.doctor.traps import Rule, Trap

ROOM = 256 << 20
"""Bytes below which a temporary folder counts as full."""
SHARED = 64 << 20
"""Bytes of shared memory that Docker gives where it is not asked for more."""
FEW_FILES, MANY_FILES = 1024, 4096
"""Open files: fewer than the first end a DataLoader's workers soon, with the second it is rare."""


def threads(facts: Facts) -> Iterator[Trap]:
    """More threads than CPUs wait for each other; torch knows nothing of a container's share of time."""
    asked, cpus = facts.settings.threads, facts.machine.usable_cpus
    processes = facts.settings.processes
    if asked > cpus:
        quota = facts.machine.quota
        share = "" if quota is None else f" (its container has {quota:g} CPUs' time)"
        what = f"torch computes with {asked} threads, and this process may use {cpus} CPUs{share}"
        advice = f"export OMP_NUM_THREADS={cpus}, or metaweight train --threads {cpus}"
        yield Trap("threads", True, what, advice)
    elif processes > 1 and asked * processes > cpus:
        fit = max(1, cpus // processes)
        what = f"{processes} processes with {asked} threads each share {cpus} CPUs"
        yield Trap("processes", True, what, f"export OMP_NUM_THREADS={fit}, or start fewer processes")


def held_memory(facts: Facts) -> Iterator[Trap]:
    """glibc keeps freed blocks: a run seems to need twice the memory, and may not get it."""
    variables = facts.settings.variables
    if not facts.machine.libc.startswith("glibc") or "LD_PRELOAD" in variables:
        return
    if "MALLOC_MMAP_THRESHOLD_" not in variables:
        what = "glibc keeps memory that is freed: a long run may hold far more than it uses"
        yield Trap("malloc", False, what, "where memory is short, export MALLOC_MMAP_THRESHOLD_=1048576")


def temporary_folder(facts: Facts) -> Iterator[Trap]:
    """Data sets of Hugging Face, compilers and this self-test write there."""
    place = facts.machine.temporary
    advice = "free some, or name another folder: export TMPDIR=FOLDER"
    if not place.writable:
        yield Trap("temporary-folder", True, f"the temporary folder {place.path} cannot be written", advice)
    elif place.free is not None and place.free < ROOM:
        what = f"the temporary folder {place.path} has {_mebibytes(place)} left"
        yield Trap("temporary-folder", True, what, advice)


def shared_memory(facts: Facts) -> Iterator[Trap]:
    """Batches go through it from a DataLoader's workers; where it ends a worker dies of a bus error."""
    place = facts.machine.shared_memory
    if place is not None and place.free is not None and place.free <= SHARED:
        what = f"{place.path} has {_mebibytes(place)} left: a DataLoader's workers may die of a bus error"
        yield Trap("shared-memory", True, what, "docker run --shm-size=1g, or take workers=0")


def open_files(facts: Facts) -> Iterator[Trap]:
    """A tensor from a DataLoader's worker holds an open file where torch shares by descriptor."""
    most = facts.machine.open_files
    if facts.settings.sharing == "file_descriptor" and most is not None and most < MANY_FILES:
        what = f"a process may have {most} files open, and every tensor from a DataLoader's worker is one"
        advice = "ulimit -n 4096, or torch.multiprocessing.set_sharing_strategy('file_system')"
        yield Trap("open-files", most < FEW_FILES, what, advice)


def compiler(facts: Facts) -> Iterator[Trap]:
    """torch.compile writes C++ for the CPU."""
    if facts.machine.compiler is None:
        what = "there is no C++ compiler, without which compile=True fails on the CPU"
        yield Trap("compiler", False, what, "install g++ (clang++ on a Mac), or name one: export CXX=NAME")


def bf16(facts: Facts) -> Iterator[Trap]:
    """A CPU that imitates bfloat16 is slower with it."""
    pace = facts.machine.bf16_pace
    if pace < 1:
        what = f"this CPU multiplies in bfloat16 at {pace:.2g} times the pace of float32"
        yield Trap("bf16", False, what, "leave precision='bf16' out on the CPU")


def gpu(facts: Facts) -> Iterator[Trap]:
    """A GPU that torch does not use."""
    machine, build = facts.machine, facts.versions.torch_build
    if not machine.nvidia_driver or any(device.kind == "cuda" for device in machine.devices):
        return
    if facts.settings.variables.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        what, advice = "CUDA_VISIBLE_DEVICES hides the GPU of this machine", "unset CUDA_VISIBLE_DEVICES"
    elif build == "CPU":
        what = "this machine has a driver for NVIDIA's GPUs, and torch is a build for the CPU"
        advice = "install torch's CUDA build, see pytorch.org/get-started"
    else:
        what = f"torch, built for {build}, finds no GPU where a driver for NVIDIA's is loaded"
        advice = "look at nvidia-smi: the driver may be older than that CUDA, or the container has no GPU"
    yield Trap("gpu", True, what, advice)


def _mebibytes(place: Place) -> str:
    return f"{(place.free or 0) / (1 << 20):.0f} MiB"


MACHINE: tuple[Rule, ...] = (
    threads,
    held_memory,
    temporary_folder,
    shared_memory,
    open_files,
    compiler,
    bf16,
    gpu,
)
