"""Runs in several processes whose clocks go differently."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from clocks import clock
from parted_runs import META, ROWS, Case, batch, reweighter, trained
from torch import Tensor

from metaweight.engines import auto

MEASURED = Case(engine="auto", engine_options={"cost": "measured"}, steps=4)
MILLISECONDS = (
    {"Ghost": 10, "DoubleBackward": 20, "ForwardMode": 15},
    {"Ghost": 30, "DoubleBackward": 20, "ForwardMode": 25},
)
"""By process: alone, the first would take ``ghost``."""


def trained_by_two_clocks(rank: int, size: int) -> dict[str, Tensor]:
    """What there is after a few iterations; each process's clock says its own ``MILLISECONDS``."""
    with pytest.MonkeyPatch.context() as patch:
        clock(patch, MILLISECONDS[rank])
        return trained(rank, size, MEASURED)


def said_by_two_clocks(rank: int, size: int) -> str:
    """The engine, and why."""
    choices: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        whole = auto.Auto._keep

        def keep(self: Any, *args: Any) -> None:
            whole(self, *args)
            choices.append(self.choice)

        patch.setattr(auto.Auto, "_keep", keep)
        trained_by_two_clocks(rank, size)
    (choice,) = choices
    return choice


def short_of_memory(rank: int, size: int) -> str:
    """What is raised where one process runs out of memory while the others wait for it."""
    with pytest.MonkeyPatch.context() as patch:

        def solve(*_: object) -> object:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

        patch.setattr("metaweight.engines.double.DoubleBackward.solve", solve)
        live = reweighter(MEASURED, rank, size)
        with pytest.raises(torch.cuda.OutOfMemoryError) as caught:
            live.step(batch(ROWS, 100).part(rank, size), batch(META, 5000).part(rank, size))
    return str(caught.value)
