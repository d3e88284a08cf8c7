"""A pool of processes for tests: torch is imported once for all, and each test has a group of its own."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

MOST = 4
SECONDS = 60
START = "forkserver" if sys.platform == "linux" else "spawn"
PRELOADED = ["torch._dynamo", "torch.distributed.checkpoint", "torch.distributed.fsdp", "metaweight.cli.main"]
"""What takes long to import and starts no threads: once for all that are forked."""


class Ranks:
    """Up to ``MOST`` processes; ``run`` calls a function in some of them, in one gloo group."""

    def __init__(self) -> None:
        self._workers: list[tuple[Any, Connection]] = []

    def run(self, size: int, function: Callable[..., Any], *args: Any) -> list[Any]:
        """``function(rank, size, *args)`` of each, by rank; None of one that was killed meanwhile.

        Raises AssertionError with what they raised, or where one does not answer in time.
        """
        while len(self._workers) < size:
            self._start()
        connections = [connection for _, connection in self._workers[:size]]
        with tempfile.TemporaryDirectory() as folder:
            for rank, connection in enumerate(connections):
                connection.send((function, args, rank, size, str(Path(folder) / "store")))
            answers = []
            for connection in connections:
                if not connection.poll(2 * SECONDS):
                    self.stop()
                    raise AssertionError(f"no answer after {2 * SECONDS} s")
                try:
                    answers.append(connection.recv())
                except EOFError:
                    answers.append((True, None))
        if any(answer is None for _, answer in answers):
            self.stop()
        failures = [text for good, text in answers if not good]
        if failures:
            raise AssertionError("\n".join(failures))
        return [answer for _, answer in answers]

    def _start(self) -> None:
        context = multiprocessing.get_context(START)
        if START == "forkserver":
            context.set_forkserver_preload(PRELOADED)
        here, there = context.Pipe()
        worker = context.Process(target=_work, args=(there,), daemon=True)
        worker.start()
        self._workers.append((worker, here))

    def stop(self) -> None:
        """End all of them; the next ``run`` starts others."""
        for worker, _ in self._workers:
            worker.kill()
            worker.join()
        self._workers.clear()


def _work(connection: Connection) -> None:
    if sys.platform == "linux":  # whatever network the machine has
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    while True:
        function, args, rank, size, store = connection.recv()
        try:
            dist.init_process_group(
                "gloo", f"file://{store}", rank=rank, world_size=size, timeout=timedelta(seconds=SECONDS)
            )
            try:
                dist.barrier()  # one that is done must not leave while others still connect
                answer = True, function(rank, size, *args)
            finally:
                dist.destroy_process_group()
        except Exception:
            answer = False, f"rank {rank}: {traceback.format_exc()}"
        connection.send(answer)
