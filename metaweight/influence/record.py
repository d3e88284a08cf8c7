"""What a recorded run says of itself, so that it can be taken again: the file ``run.json``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.contracts import Batch
from metaweight.core.records import Record, read_record, require_format, write_record
from metaweight.core.version import __version__
from metaweight.engines.inner import members

FORMAT = 1
FILE = "run.json"
PAUSE = 5.0
"""Seconds between two writes while steps are taken."""


class RunRecord(Record, frozen=True):
    """The file's content."""

    format: int
    steps: int
    every: int
    samples: int
    taken: int
    """Steps whose states and losses are on the disk."""
    surroundings: dict[str, str]
    batches: list[list[float]]
    """For each kept state the ``fingerprint`` of the batch of the next step."""
    losses: list[float]
    """The mean of the unit losses before each step."""
    weights: str
    """Digest of the samples' weights."""
    rates: str
    """Digest of the learning rates of all steps."""
    max_norm: float | None
    optimizer: str
    """What it is, with its options."""
    states: Literal["exact", "bf16"] = "exact"
    """In how many digits they are kept."""


PARTS = {
    "steps": "another number of steps (epochs times batches)",
    "samples": "another number of samples",
    "weights": "other weights of the samples",
    "rates": "other learning rates",
    "max_norm": "another max_norm",
    "optimizer": "another optimizer, or other options of it",
}
"""Of a run that goes on: what must be as it was, and what is said where it is not."""


def other_parts(one: RunRecord, other: RunRecord) -> list[str]:
    """In words, what two runs do not share."""
    return [said for name, said in PARTS.items() if getattr(one, name) != getattr(other, name)]


def options_of(optimizer: Optimizer) -> str:
    """Kinds and options of an optimizer's groups, without learning rates."""
    return "; ".join(
        ", ".join((type(one).__name__, *(f"{name}={group[name]}" for name in one.defaults if name != "lr")))
        for one in members(optimizer)
        for group in one.param_groups
    )


def surroundings() -> dict[str, str]:
    """What decides how numbers round here, apart from the data."""
    return {
        "metaweight": __version__,
        "torch": str(torch.__version__),
        "threads": str(torch.get_num_threads()),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "float32 products": torch.get_float32_matmul_precision(),
        "deterministic algorithms": str(torch.are_deterministic_algorithms_enabled()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def fingerprint(batch: Batch) -> list[float]:
    """Three numbers that change where samples, targets or inputs of a batch do."""
    place = torch.arange(1, len(batch) + 1, device=batch.index.device)
    inputs = [*batch.args, *batch.kwargs.values()]
    tensors = [value for value in inputs if isinstance(value, Tensor)]
    return [float((batch.index * place).sum()), _weighted(batch.targets), sum(map(_weighted, tensors))]


def changed_parts(here: list[float], there: list[float]) -> str:
    """What differs between two batches, by their fingerprints; empty where nothing does."""
    names = ("the samples and their order", "the targets", "the inputs")
    return " and ".join(name for name, a, b in zip(names, here, there, strict=True) if a != b)


def _weighted(value: Tensor) -> float:
    flat = value.detach().reshape(-1).to(torch.float64 if not value.is_complex() else torch.complex128)
    sizes = torch.linspace(1, 2, len(flat), dtype=torch.float64, device=flat.device)
    return float((flat.abs() if flat.is_complex() else flat).mul(sizes).sum())


class Writer:
    """Writes a record now and then, and at the end."""

    def __init__(self, folder: Path) -> None:
        self.path, self._written = folder / FILE, time.monotonic()

    def write(self, record: RunRecord, *, at_once: bool) -> bool:
        """Write it where the last time is long enough ago, or ``at_once``; whether it was."""
        if not at_once and time.monotonic() - self._written < PAUSE:
            return False
        write_record(self.path, record)
        self._written = time.monotonic()
        return True


def read(folder: Path) -> RunRecord | None:
    """The record of a folder; None where none was written.

    Raises ValueError for one that is damaged or of a newer format.
    """
    path = folder / FILE
    if not path.exists():
        return None
    record = read_record(RunRecord, path)
    require_format(path, record.format, FORMAT)
    return record
