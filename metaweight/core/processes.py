"""More than one process: not supported yet."""

from __future__ import annotations

import torch.distributed

from metaweight.core.contracts import MetaweightError


def refuse_several_processes() -> None:
    """Raise MetaweightError while a process group is up: each rank would train a model of its own."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise MetaweightError(
            f"a process group of {torch.distributed.get_world_size()} is up, and metaweight does not average "
            "over processes yet: each rank would train a model of its own. Train in one process, or call "
            "torch.distributed.destroy_process_group() first"
        )
