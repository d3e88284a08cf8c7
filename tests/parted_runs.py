"""A small student trained on parts of batches, to be held against one process on the joined batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, Adam, AdamW, Optimizer

import metaweight as mw
from benchmarks.parallel.work import gathers_counted, sums_counted
from metaweight.core import sums
from metaweight.engines.one_step import joined_gradients

ROWS, META, CLASSES, SAMPLES = 13, 3, 5, 60
DOUBLE = torch.float64
LONG = 50
"""Steps in which numbers that are to be alike would drift apart; fewer show all that is no rounding."""
OPTIMIZERS: Mapping[str, Callable[[nn.Module], Any]] = {
    "sgd": lambda m: SGD(m.parameters(), lr=0.2, momentum=0.9, weight_decay=1e-3),
    "adam": lambda m: Adam(m.parameters(), lr=0.01, eps=1e-4),
    "adamw": lambda m: AdamW(m.parameters(), lr=0.01, eps=1e-4, weight_decay=0.05),
    "two": lambda m: [SGD(m[0].parameters(), lr=0.2), AdamW(m[1:].parameters(), lr=0.01, eps=1e-4)],
}


@dataclass(frozen=True)
class Case:
    """How it trains."""

    engine: str = "auto"
    teacher: str = "mlp"
    schedule: str = "lookahead"
    optimizer: str = "sgd"
    unroll: int = 1
    steps: int = 12
    wrapped: bool = True
    sharded: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    teacher_options: Mapping[str, Any] = field(default_factory=dict)
    engine_options: Mapping[str, Any] = field(default_factory=dict)


def module(rank: int = 0) -> nn.Sequential:
    torch.manual_seed(3 + rank)
    return nn.Sequential(
        nn.Linear(6, 12), nn.LayerNorm(12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, CLASSES)
    ).to(DOUBLE)


def batch(rows: int, seed: int) -> mw.Batch:
    """Places of the data set, with noise of their own in some labels."""
    g = torch.Generator().manual_seed(seed)
    index = torch.randperm(SAMPLES, generator=g)[:rows]
    x = torch.randn(SAMPLES, 6, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)[index]
    targets = (x[:, :CLASSES].argmax(dim=1) + (index % 4 == 0)) % CLASSES
    return mw.Batch((x,), targets, index)


def reweighter(case: Case, rank: int, size: int) -> mw.Reweighter:
    """Processes other than the first start from other numbers, which are not to count."""
    # shards come from the process's own numbers: nobody sends a whole module around
    net = module(0 if case.sharded else rank)
    wrapped = net
    if case.sharded:
        for part in (net[0], net[3], net):
            fully_shard(part)
    elif case.wrapped and size > 1:
        wrapped = DistributedDataParallel(net)
    student = mw.Student(wrapped, taps=("2", "4"))
    optimizer: Optimizer | list[Optimizer] = OPTIMIZERS[case.optimizer](net)
    torch.manual_seed(11 + rank)
    teacher = mw.build_teacher(
        case.teacher,
        student.spec(batch(ROWS, 0), samples=SAMPLES),
        **case.teacher_options,
    )
    learned = list(teacher.parameters())
    return mw.Reweighter(
        student,
        teacher,
        optimizer=optimizer,
        # Adam divides by the gradient's size: what rounding leaves of a gradient of 0 would be a step
        teacher_optimizer=SGD(learned, lr=3.0) if learned else None,
        engine=mw.engines.build_engine(case.engine, **case.engine_options),
        schedule=case.schedule,
        unroll=case.unroll,
        **case.options,
    )


def trained(rank: int, size: int, case: Case) -> dict[str, Tensor]:
    """What there is after ``case.steps`` iterations, with the last report; of one process: ``size`` 1."""
    live = reweighter(case, rank, size)
    for step in range(case.steps):
        train = [batch(ROWS, 100 + case.unroll * step + k).part(rank, size) for k in range(case.unroll)]
        meta = batch(META, 5000 + step).part(rank, size)
        report = live.step(train if case.unroll > 1 else train[0], meta, teach=step > 1)
    found = {f"student.{name}": whole(p.detach()) for name, p in live.student.module.named_parameters()}
    found |= {f"teacher.{name}": whole(value.detach()) for name, value in live.teacher.state_dict().items()}
    found |= {"weights": report.weights, "losses": report.losses, "index": report.index}
    found["meta"] = torch.tensor(report.meta_loss or 0.0, dtype=DOUBLE)
    return found


def whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


PADDING, WORDS, LENGTH = 0, 30, 6


def sentences(rows: int, seed: int) -> mw.Batch:
    """Each word with the word that is to follow it; 0 is padding.

    No two are alike: of losses that are, a teacher that looks at ranks sees what rounding makes of them.
    """
    g = torch.Generator().manual_seed(seed)
    real = torch.arange(LENGTH) < torch.randint(3, LENGTH + 1, (rows, 1), generator=g)
    words = torch.randint(1, WORDS, (rows, LENGTH), generator=g) * real
    targets = (words % (WORDS - 1) + 1) * real
    return mw.Batch((words,), targets, torch.randperm(SAMPLES, generator=g)[:rows])


def shortened(batch: mw.Batch) -> mw.Batch:
    """Padded to its own longest sentence, as each process's loader does."""
    longest = int((batch.targets != PADDING).sum(dim=1).max())
    return replace(batch, inputs=(batch.args[0][:, :longest],), targets=batch.targets[:, :longest])


def trained_on_sentences(rank: int, size: int, unit: str, teacher: str, engine: str) -> dict[str, Tensor]:
    """Students of words, each process with sentences of another length."""
    torch.manual_seed(6)
    net = nn.Sequential(nn.Embedding(WORDS, 8), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, WORDS)).to(DOUBLE)
    loss = mw.losses.TokenCrossEntropy(PADDING, unit=unit)
    student = mw.Student(net, loss, taps=("2",), time_axes=lambda _tap, b: mw.TimeAxis(b.args[0] != PADDING))
    weigher = mw.build_teacher(teacher, student.spec(sentences(6, 0), samples=SAMPLES))
    learned = list(weigher.parameters())
    live = mw.Reweighter(
        student,
        weigher,
        optimizer=SGD(net.parameters(), lr=0.3, momentum=0.9),
        teacher_optimizer=SGD(learned, lr=0.5) if learned else None,
        engine=engine,
    )
    for step in range(10):
        train, meta = (shortened(sentences(n, s).part(rank, size)) for n, s in ((7, step), (3, 900 + step)))
        report = live.step(train, meta)
    found = {name: p.detach() for name, p in net.named_parameters()}
    return {**found, "weights": report.weights, "losses": report.losses, "index": report.index}


def loop_of_the_users(rank: int, size: int, no_sync: bool, rows: int) -> dict[str, Tensor]:
    """Weights by ``weigh``; a loop that gathers two micro-batches takes the step, as torch's docs have it."""
    net = module(rank)
    model = DistributedDataParallel(net) if size > 1 else net
    student = mw.Student(model, taps=("4",))
    torch.manual_seed(11)
    teacher = mw.build_teacher("mlp", student.spec(batch(ROWS, 0)))
    optimizer = SGD(net.parameters(), lr=0.2, momentum=0.9)
    live = mw.Reweighter(
        student, teacher, optimizer=optimizer, teacher_optimizer=SGD(teacher.parameters(), lr=3.0)
    )
    weights = torch.empty(0)
    for step in range(10):
        for micro in range(2):
            train = batch(rows, 100 + 2 * step + micro).part(rank, size)
            weights = live.weigh(train, batch(META, 5000 + step).part(rank, size), micro_batches=2)
            gathering = size > 1 and no_sync and micro == 0
            with model.no_sync() if gathering else nullcontext():
                losses = nn.functional.cross_entropy(model(*train.args), train.targets, reduction="none")
                ((weights * losses).mean() / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
    found = {name: p.detach() for name, p in net.named_parameters()}
    assert live.last is not None
    return {**found, "weights": live.last.weights, "own": weights}


def broken_row(rank: int, size: int, where: str) -> tuple[list[int], bool]:
    """The samples that a NaN in one row of one process is told of, and whether anything has moved."""
    live = reweighter(Case(), rank, size)
    train, meta = batch(ROWS, 100), batch(META, 5000)
    live.step(train.part(rank, size), meta.part(rank, size))
    before = [p.detach().clone() for p in live.student.module.parameters()]
    broken = train if where == "train" else meta
    broken.args[0][-1] = torch.nan
    with pytest.raises(mw.NonFiniteError) as caught:
        live.step(train.part(rank, size), meta.part(rank, size))
    assert caught.value.index is not None
    here = live.student.module.parameters()
    return caught.value.index.tolist(), all(torch.equal(a, b) for a, b in zip(before, here, strict=True))


def refusals(rank: int, size: int) -> list[str]:
    """What is said of students that parts of a batch would make another thing of."""
    train, meta = batch(ROWS, 100).part(rank, size), batch(META, 1).part(rank, size)
    norm = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, CLASSES)).to(DOUBLE)
    said = []
    for net, engine, unroll in (
        (norm, "auto", 1),
        (module(), mw.engines.build_engine("reverse", through_state=True), 2),
    ):
        student = mw.Student(net)
        teacher = mw.build_teacher("mw-net", student.spec(batch(ROWS, 0)))
        with pytest.raises(mw.MetaweightError) as caught:
            mw.Reweighter(
                student,
                teacher,
                optimizer=SGD(net.parameters(), lr=0.1, momentum=0.9),
                engine=engine,
                unroll=unroll,
            ).step([train] * unroll, meta)
        said.append(str(caught.value))
    norm[1].eval()
    student = mw.Student(norm)
    teacher = mw.build_teacher("mw-net", student.spec(batch(ROWS, 0)))
    mw.Reweighter(student, teacher, optimizer=SGD(norm.parameters(), lr=0.1)).step(train, meta)
    return said


def bytes_sent(rank: int, size: int, case: Case) -> list[tuple[float, float]]:
    """Bytes that an iteration sums up, and those that it gathers from shards, in parameters' bytes."""
    live = reweighter(replace(case, options={"check_every": 0}), rank, size)
    own = sum(p.numel() * p.element_size() for p in live.student.parameters().values())
    summed: list[int] = []
    gathered: list[int] = []
    shares = []
    for step in range(4):
        summed.clear(), gathered.clear()
        with sums_counted(summed), gathers_counted(gathered):
            live.step(batch(ROWS, step).part(rank, size), batch(META, 50 + step).part(rank, size))
        shares.append((sum(summed) / own, sum(gathered) / own))
    return shares


def overlap(rank: int, size: int) -> list[str]:
    """What happens in a backward, in order: sums over processes that begin, and the last gradient."""
    live, events = reweighter(Case(), rank, size), []
    forward = live.student(batch(ROWS, 1).part(rank, size))
    real_reduce, real_bucket = dist.all_reduce, sums.BUCKET

    def noted(*args: Any, **kwargs: Any) -> Any:
        events.append("sum")
        return real_reduce(*args, **kwargs)

    dist.all_reduce, sums.BUCKET = noted, 800
    live.student.module[0].weight.register_hook(lambda _grad: events.append("first layer"))
    try:
        joined_gradients(live.student, forward, torch.ones_like(forward.losses), live.student.parameters())
    finally:
        dist.all_reduce, sums.BUCKET = real_reduce, real_bucket
    return events
