"""Processes that torchrun has started: the group that they train in, and its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch
import torch.distributed as dist

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
