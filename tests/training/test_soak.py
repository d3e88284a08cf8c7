"""A hundred thousand steps: memory stays where it was, and the folder stays small."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch
from torch import nn

import metaweight as mw
from metaweight.training.callbacks import Callback, Run, WeightHistory
from metaweight.training.run_folder import RunFolder

SAMPLES, BATCH, EPOCHS = 16_000, 16, 100


class Rows:
    """Batches of random rows, whose order is a function of the epoch."""

    def __init__(self, batches: int) -> None:
        self.batches = batches
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(batches * BATCH, 8, generator=generator)
        self.y = torch.randint(0, 3, (batches * BATCH,), generator=generator)

    def __len__(self) -> int:
        return self.batches

    def batch(self, epoch: int, position: int) -> mw.Batch:
        index = (torch.arange(BATCH) + BATCH * position + 7 * epoch) % len(self.y)
        return mw.Batch((self.x[index],), self.y[index], index)


class Resident(Callback):
    """MiB in memory at the end of each epoch; what the allocator keeps of what was freed does not count."""

    def __init__(self) -> None:
        self.sizes: list[float] = []
        self.trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's

    def on_epoch(self, run: Run, row: object) -> None:
        if self.trim is not None:
            self.trim(0)
        self.sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20)


@pytest.mark.slow
@pytest.mark.parametrize(("teacher", "schedule"), [("mlp", "lookahead"), ("memory", "online")])
def test_memory_is_flat_and_logs_stay_small(teacher: str, schedule: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    student = mw.Student(module, taps=("0",))
    train, meta = Rows(SAMPLES // BATCH), Rows(4)
    made = mw.build_teacher(teacher, spec=student.spec(train.batch(0, 0), samples=SAMPLES))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    reweighter = mw.Reweighter(student, made, optimizer=optimizer, schedule=schedule)
    memory = Resident()
    folder = RunFolder.create(tmp_path / "run", {})
    history = WeightHistory(SAMPLES, EPOCHS)
    mw.Trainer(reweighter, train, meta, epochs=EPOCHS, folder=folder, callbacks=(history, memory)).fit()
    assert reweighter.steps == 100_000
    early, late = max(memory.sizes[10:20]), max(memory.sizes[-10:])
    print(f"{teacher}: {early:.1f} MiB after 20,000 steps, {late:.1f} after 100,000")
    assert late < early + 10  # a tensor of one number kept from each step would be 40
    size = sum(file.stat().st_size for file in folder.path.glob("steps*")) / 2**20
    print(f"the log of steps has {size:.1f} MiB")
    assert size < 12
    rows = folder.read_steps()
    assert [row["step"] for row in rows] == list(range(1, 100_001))
