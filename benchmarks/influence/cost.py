"""What recording a run and going back through it cost, beside the same loop as anybody writes it."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import nn

import metaweight as mw
from benchmarks.speed.measure import extra_peak
from benchmarks.speed.students import Subject, subject

PARTS = ("plain", "record", "influence", "low memory")


@dataclass(frozen=True)
class Cost:
    """Of one student."""

    model: str
    batch: int
    steps: int
    seconds: float
    """Of a plain step."""
    record: float
    """The recorded run, in plain runs; states in a folder."""
    influence: float
    """Going back through it, in plain runs."""
    low: float
    """The same with ``low_memory``."""
    plain_peak: int
    """Bytes of the student and its training at the peak."""
    influence_peak: int
    """The same of recording and going back."""
    low_peak: int
    """The same with ``low_memory``."""
    state: int
    """Bytes of one kept state."""


@dataclass(frozen=True)
class Batches:
    """The same random batches in each epoch."""

    batches: tuple[mw.Batch, ...]

    def __len__(self) -> int:
        return len(self.batches)

    def batch(self, epoch: int, position: int) -> mw.Batch:
        """That of the position."""
        return self.batches[position]


def measured(model: str, size: int, steps: int, rounds: int) -> Cost:
    """Rounds of all three parts in turn; ratios are medians of CPU seconds of this process."""
    kind = subject(model)
    source = _batches(kind, size, steps)
    times: dict[str, list[float]] = {part: [] for part in PARTS}
    _plain(kind, source)  # what is loaded and made once
    state = 0
    for _ in range(rounds):
        times["plain"].append(_timed(lambda: _plain(kind, source)))
        for low in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                run = _run(kind, source, folder, low)
                record = _timed(run.record)
                state = run.recording.end().size()
                times["low memory" if low else "influence"].append(
                    _timed(lambda run=run: run.influence(source.batches[0]))
                )
            if not low:
                times["record"].append(record)
    plain = median(times["plain"])
    ratio = [median(a / b for a, b in zip(times[part], times["plain"], strict=True)) for part in PARTS]
    peaks = [_in_fresh_process(part, model, size, steps) for part in PARTS if part != "record"]
    return Cost(model, size, steps, plain / steps, *ratio[1:], *peaks, state)


def _batches(kind: Subject, size: int, steps: int) -> Batches:
    generator = torch.Generator().manual_seed(0)
    return Batches(tuple(kind.random_batch(size, step * size, generator) for step in range(steps)))


def _plain(kind: Subject, source: Batches) -> nn.Module:
    torch.manual_seed(0)
    module = kind.module()
    optimizer = kind.optimizer(module.parameters())
    for batch in source.batches:
        optimizer.zero_grad()
        kind.loss(module, batch).backward()
        optimizer.step()
    return module


def _run(kind: Subject, source: Batches, folder: str, low: bool) -> mw.WholeRun:
    torch.manual_seed(0)
    module = kind.module()
    optimizer = kind.optimizer(module.parameters())
    count = sum(len(batch) for batch in source.batches)
    weights = torch.ones(count, dtype=torch.float64)
    options: dict[str, Any] = {"epochs": 1, "weights": weights, "folder": folder, "low_memory": low}
    return mw.WholeRun(kind.student(module), source, optimizer, **options)


def _timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _in_fresh_process(part: str, model: str, size: int, steps: int) -> int:
    # else the heap keeps what is freed, and the peak is of what it happened to lie between
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**17)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (part, model, size, steps, torch.get_num_threads()))


def _peak(part: str, model: str, size: int, steps: int, threads: int) -> int:
    """The peak of a part, student and all; before it the same with a small one, for what is loaded once."""
    torch.set_num_threads(threads)
    _work(part, "mlp", _batches(subject("mlp"), 2, 2))
    source = _batches(subject(model), size, steps)
    return extra_peak(lambda: _work(part, model, source))


def _work(part: str, model: str, source: Batches) -> None:
    if part == "plain":
        _plain(subject(model), source)
        return
    with tempfile.TemporaryDirectory() as folder:
        low = part == "low memory"
        _run(subject(model), source, folder, low).influence(source.batches[0])
