"""Teachers that remember every sample, in processes that share the rows of their tables out."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from typing import Any

import parted_runs as runs
import pytest
import torch
import torch.distributed as dist
from parted_runs import Case, trained
from torch import Tensor

import metaweight as mw
from metaweight.core import shards
from metaweight.teachers import PerSample, per_sample
from metaweight.training.callbacks import Callback
from metaweight.training.history import Interrupted

EPOCHS, BATCHES = 3, 5


def shared(rank: int, size: int, function: Callable[..., Any], *args: Any) -> Any:
    """``function(rank, size, *args)`` where tables of any size are shared out, and travel in small parts."""
    before = per_sample.SHARED_FROM, shards.AT_ONCE
    per_sample.SHARED_FROM, shards.AT_ONCE = 0, 56
    try:
        return function(rank, size, *args)
    finally:
        per_sample.SHARED_FROM, shards.AT_ONCE = before


def both(rank: int, size: int, case: Case) -> list[dict[str, Tensor]]:
    """What is trained with whole tables, and with rows shared out."""
    return [trained(rank, size, case), shared(rank, size, trained, case)]


def held(rank: int, size: int, samples: int) -> int:
    """Bytes of the tables here."""
    spec = mw.StateSpec({}, 3, samples=samples, processes=mw.Student(torch.nn.Linear(2, 3)).processes)
    return sum(table.nbytes for table in mw.build_teacher("recall", spec).signals.buffers())


def tables(rank: int, size: int, samples: int) -> dict[str, Tensor]:
    """Rows that are written at random and read again, with what is in them at last."""
    rows = {
        "loss": torch.full((), -0.0),
        "state": torch.zeros(3, 2, dtype=torch.bfloat16),
        "seen": torch.tensor(False),
        "visits": torch.zeros((), dtype=torch.int64),
    }
    store = PerSample(samples, rows, mw.Student(torch.nn.Linear(2, 3)).processes)
    g = torch.Generator().manual_seed(1)
    found: dict[str, Tensor] = {}
    for step in range(6):
        index = torch.randperm(samples, generator=g)[: 3 + step]
        kept = store.read(torch.cat([index, index[:2]]))
        found |= {f"{step} {name}": value for name, value in kept.items()}
        found |= {f"{step} one {name}": value for name, value in store.read(index[:1]).items()}
        state = (torch.randn(len(index), 3, 2, generator=g) + step).to(torch.bfloat16)
        loss = kept["loss"][: len(index)] + step
        loss = loss.where(index % 3 > 0, torch.nan)
        store.write(index, loss=loss, state=state, seen=index % 2 == 0, visits=index + step)
    return found | {name: runs.whole(value) for name, value in store.state_dict().items()}


def unknown(rank: int, size: int) -> list[str]:
    """What is said of samples that there are none of, and of a store whose other rows are elsewhere."""
    store = PerSample(7, {"loss": torch.zeros(())}, mw.Student(torch.nn.Linear(2, 3)).processes)
    said = []
    for index in (torch.tensor([0, 7]), torch.tensor([-1])):
        for call in (store.read, lambda at: store.write(at, loss=torch.zeros(len(at)))):
            with pytest.raises(ValueError, match="lies beyond the 7 samples") as caught:
                call(index)
            said.append(str(caught.value))
    store.processes = type(store.processes)()
    with pytest.raises(mw.MetaweightError) as lost:
        store.read(torch.tensor([0]))
    return [*said, str(lost.value)]


def written_by_one(rank: int, size: int, path: str) -> str | None:
    """What is said of a teacher's state that the first process alone has written."""
    spec = mw.StateSpec({}, 3, samples=9, processes=mw.Student(torch.nn.Linear(2, 3)).processes)
    teacher = mw.build_teacher("recall", spec)
    copy.deepcopy(teacher).load_state_dict(teacher.state_dict())
    if rank == 0:
        torch.save(teacher.state_dict(), path)
    dist.barrier()
    return refused(teacher, path)


def refused(teacher: mw.Teacher, path: str) -> str | None:
    """What is said of the state in ``path``."""
    try:
        teacher.load_state_dict(torch.load(path))
    except mw.MetaweightError as error:
        return str(error)
    return None


class Remembers(mw.Teacher):
    """A user's own: a sample weighs by its losses so far, kept in a plain buffer or in a PerSample."""

    sees, learns, needs_samples = "surface", False, True

    def __init__(self, spec: mw.StateSpec, *, plain: bool = True) -> None:
        super().__init__()
        assert spec.samples is not None
        self.plain = plain
        if plain:
            self.register_buffer("sums", torch.zeros(spec.samples, dtype=spec.dtype))
        else:
            self.kept = PerSample(spec.samples, {"sums": torch.zeros((), dtype=spec.dtype)}, spec.processes)

    def forward(self, state: mw.StudentState) -> Tensor:
        sums = self.sums[state.index] if self.plain else self.kept.read(state.index)["sums"]
        return 2 * (state.loss - sums).sigmoid()

    def track(self, state: mw.StudentState) -> None:
        if self.plain:
            self.sums[state.index] += state.loss
        else:
            sums = self.kept.read(state.index)["sums"]
            self.kept.write(state.index, sums=sums + state.loss)


def own(rank: int, size: int, plain: bool) -> list[Tensor]:
    """The last weights of a teacher of the user's own, and its sums."""
    net = runs.module(rank)
    student = mw.Student(net)
    teacher = Remembers(student.spec(runs.batch(runs.ROWS, 0), samples=runs.SAMPLES + 1), plain=plain)
    live = mw.Reweighter(student, teacher, optimizer=torch.optim.SGD(net.parameters(), lr=0.2))
    for step in range(8):
        report = live.step(runs.batch(runs.ROWS, step).part(rank, size))
    sums = runs.whole(next(iter(teacher.state_dict().values())))
    return [report.weights, sums.clone()]


class Rows:
    """Batches by epoch and place."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return BATCHES

    def batch(self, epoch: int, position: int) -> mw.Batch:
        return runs.batch(self.rows, 1000 * self.rows + BATCHES * epoch + position)


class StopAt(Callback):
    """Asks for an end after so many steps."""

    kept_once = True

    def __init__(self, step: int | None) -> None:
        self.step, self.loaded = step, {}

    def on_step(self, run: Any, batch: mw.Batch, report: mw.StepReport) -> None:
        run.interrupted = run.reweighter.steps == self.step

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.loaded = state


def run(rank: int, size: int, folder: str, stop: int | None) -> dict[str, Tensor]:
    """A run from its checkpoint, where there is one, to its end or to the step ``stop``."""
    live = runs.reweighter(Case(teacher="recall", teacher_options={"decay": 0.5}), rank, size)
    place = None
    if rank == 0:
        there = os.path.exists(folder)
        place = mw.RunFolder.open(folder) if there else mw.RunFolder.create(folder, {})
    kept = mw.WeightHistory(runs.SAMPLES, EPOCHS, 1, processes=live.student.processes)
    sources = Rows(runs.ROWS), Rows(runs.META)
    stopping = StopAt(stop)
    trainer = mw.Trainer(live, *sources, epochs=EPOCHS, folder=place, callbacks=(kept, stopping))
    if trainer.has_checkpoint:
        trainer.resume()
        assert bool(stopping.loaded) == (rank == 0)
    if stop is None:
        trainer.fit()
    else:
        with pytest.raises(Interrupted):
            trainer.fit()
    teacher = {name: runs.whole(value).clone() for name, value in live.teacher.state_dict().items()}
    student = {name: p.detach() for name, p in live.student.module.named_parameters()}
    means = {"mean weights": kept.mean_weight(), "mean losses": kept.mean_loss()}
    if rank > 0:
        assert all(bool(mean.isnan().all()) for mean in means.values())
        assert kept.weights.untyped_storage().nbytes() == 4
        return {**teacher, **student}
    return {**teacher, **student, **means}


def spread(rank: int, size: int, folder: str, steps: range) -> dict[str, Tensor]:
    """Iterations from a checkpoint that all processes write, where there is one."""
    live = runs.reweighter(Case(teacher="recall", teacher_options={"decay": 0.5}), rank, size)
    if steps.start:
        mw.load_checkpoint(live, folder)
    for step in steps:
        live.step(runs.batch(runs.ROWS, step).part(rank, size), runs.batch(4, 50 + step).part(rank, size))
    mw.save_checkpoint(live, folder)
    return {name: runs.whole(value).clone() for name, value in live.teacher.state_dict().items()}
