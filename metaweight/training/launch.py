"""Processes that torchrun has started: the group that they train in, and its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch
import torch.distributed as dist

from metaweight.core.contracts import MetaweightError
from metaweight.core.launched import started_as
from metaweight.core.processes import Processes

PATIENCE = timedelta(minutes=10)
"""How long a process waits for the others: an evaluation of one of them may take minutes."""


@contextmanager
def launched(device: str) -> Iterator[Processes]:
    """The processes that were started together, in a group for work on ``device``; else this one alone."""
    rank, size = started_as()
    if size == 1 or dist.is_initialized():
        yield Processes.at_hand()
        return
    cuda = torch.device(device).type == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)))
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield Processes.at_hand()
    finally:
        with suppress(RuntimeError):
            dist.destroy_process_group()


def refuse_several(what: str) -> None:
    """Raise MetaweightError where a group of several processes is up, in which ``what`` does not work yet."""
    processes = Processes.at_hand()
    if processes.size > 1:
        raise MetaweightError(
            f"a group of {processes.size} processes is up, and {what} does not share its rows and files "
            "among them yet: train in one process, by torchrun -m metaweight train, or by a Reweighter of "
            "your own, which does"
        )
