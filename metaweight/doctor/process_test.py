"""Two processes that meet in a gloo group and tell each other a number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from metaweight.core.launched import started_as
from metaweight.core.processes import Processes
from metaweight.doctor.self_test import Skipped

SECONDS = 20.0
"""What the test may take, torch's import in a new process included."""
PATIENCE = timedelta(seconds=5)
"""How long one waits for the other."""
NUMBERS = [[1], [2]]
"""What the two say, by rank."""


def process_test(seconds: float = SECONDS) -> str:
    """What was told.  Raises Skipped where it cannot be tried or takes too long, RuntimeError where it fails.

    A new Python makes both: this process has threads, and may be one of a group already.
    """
    if not sys.platform.startswith("linux") or not dist.is_available() or not dist.is_gloo_available():
        raise Skipped("tried on Linux alone, with a torch that has gloo")
    if dist.is_initialized() or started_as()[1] > 1:
        raise Skipped("this process is one of several already")
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        code = f"from metaweight.doctor import process_test as test; test.meet({store!r})"
        with subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        ) as pair:
            try:
                said, errors = pair.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(pair.pid, signal.SIGKILL)
                raise Skipped(
                    f"took more than {seconds:g} s: the machine is slow or busy, or its processes do not "
                    "reach one another; then export GLOO_SOCKET_IFNAME=lo"
                ) from None
    last = (said.strip().splitlines() or [""])[-1]
    if pair.returncode or last != str(NUMBERS):
        reason = (errors.strip().splitlines() or [f"they said {last!r}"])[-1]
        raise RuntimeError(f"{reason}; try export GLOO_SOCKET_IFNAME=lo")
    return "two processes, each told the other's number"


def meet(store: str) -> None:
    """Be two processes, make a group and print what both say."""
    other = os.fork()  # torch is imported and has started no thread yet
    if other:
        try:
            print(_told(store, 0), flush=True)
        except BaseException:
            os.kill(other, signal.SIGKILL)  # it would keep the streams open, and the reason back
            raise
        finally:
            os.waitpid(other, 0)
        return
    try:
        _told(store, 1)
    finally:
        os._exit(0)  # nothing of what the first process is to end is this one's


def _told(store: str, rank: int) -> list[list[int]]:
    dist.init_process_group("gloo", f"file://{store}", PATIENCE, world_size=2, rank=rank)
    try:
        return Processes.at_hand().told(NUMBERS[rank])
    finally:
        dist.destroy_process_group()
