"""What each process reads and evaluates of a run, against one process and against reading all."""

from __future__ import annotations

from typing import Any

import parted_runs as runs
import torch
from several_processes import Ranks
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import metaweight as mw
from metaweight.data.loaders import LoaderBatches
from metaweight.training.trainer import Trainer


class Counted(Dataset[tuple[Tensor, Tensor]]):
    """The rows of ``parted_runs``, with noise that is drawn when a row is read."""

    def __init__(self) -> None:
        self.read: list[int] = []
        whole = runs.batch(runs.SAMPLES, 1)
        self.x, self.y = whole.args[0], whole.targets

    def __len__(self) -> int:
        return runs.SAMPLES

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        self.read.append(place)
        return self.x[place] + 0.1 * torch.randn(6, dtype=runs.DOUBLE), self.y[place]


class Plain:
    """A Source that knows nothing of parts."""

    def __init__(self, source: LoaderBatches) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, epoch: int, position: int) -> mw.Batch:
        return self.source.batch(epoch, position)


def trained(rank: int, size: int, shared: bool) -> tuple[dict[str, Tensor], list[int]]:
    """What three epochs leave, and the rows that were read after the first."""
    rows, counted, trusted = runs.reweighter(runs.Case(), rank, size), Counted(), Counted()
    sources: list[Any] = [
        LoaderBatches(DataLoader(one, batch_size=batch, shuffle=True), seed=place)
        for place, (one, batch) in enumerate(((counted, 12), (trusted, 6)))
    ]
    train, meta = sources if shared else map(Plain, sources)
    trainer = Trainer(rows, train, meta, epochs=3)
    trainer.fit()
    found = {name: p.detach() for name, p in rows.student.module.named_parameters()}
    found |= {f"teacher.{name}": value for name, value in rows.teacher.state_dict().items()}
    return found, [len(counted.read), len(trusted.read)]


def test_each_process_reads_its_rows_and_trains_as_if_it_read_all(ranks: Ranks) -> None:
    shares, wholes = (ranks.run(3, trained, shared) for shared in (True, False))
    for (ours, few), (theirs, many) in zip(shares, wholes, strict=True):
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
        # the rows of one batch tell that they are drawn, and are read again
        assert few == [3 * 60 // 3 + 4, 15 * 6 // 3 + 2]
        assert many == [3 * 60 + 12, 15 * 6 + 6]
