"""Loops, ``fit`` and estimators in several processes, to be held against one with the joined batches."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parted_runs import CLASSES, DOUBLE, module, whole
from step_parts import ByLoss
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, TensorDataset

import metaweight as mw
from metaweight.training.checkpoint import CheckpointError
from metaweight.training.epoch_file import BY_EPOCH

Found = dict[str, Tensor]


class Started(ByLoss):
    """Weights that differ from the first step on, and no parameter whose gradient is rounding alone."""

    def __init__(self, spec: object = None) -> None:
        super().__init__(spec)
        nn.init.constant_(self.score.weight, 0.3)


def pairs(count: int, seed: int) -> TensorDataset:
    """Points and the largest of their numbers, which each fourth row has wrong."""
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
    wrong = (torch.arange(count) % 4 == 0) & torch.tensor(seed == 1)
    return TensorDataset(x, (x[:, :CLASSES].argmax(dim=1) + wrong) % CLASSES)


class Shares:
    """Batches of all rows in another order each epoch, parted among processes as a user's own sampler may."""

    def __init__(self, rows: int, size: int, batch: int, seed: int = 3) -> None:
        self.rows, self.size, self.batch, self.seed, self.epoch = rows, size, batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def of(self, rank: int) -> list[list[int]]:
        order = torch.randperm(self.rows, generator=torch.Generator().manual_seed(self.seed + self.epoch))
        return [part.tensor_split(self.size)[rank].tolist() for part in order.split(self.batch)]


class Distributed(Shares):
    """As torch's DistributedSampler has it: each process as many rows, the first ones again at the end."""

    def of(self, rank: int) -> list[list[int]]:
        rows: Any = range(self.rows)
        sampler: Any = DistributedSampler(rows, num_replicas=self.size, rank=rank, seed=self.seed)
        sampler.set_epoch(self.epoch)
        return list(BatchSampler(sampler, self.batch // self.size, drop_last=False))


class Own:
    """The batches of one process; of all of them together where ``rank`` is None."""

    def __init__(self, shares: Shares, rank: int | None) -> None:
        self.sampler, self.rank = shares, rank  # under a name that trainers know

    def __len__(self) -> int:
        return len(self.sampler.of(0))

    def __iter__(self) -> Iterator[list[int]]:
        if self.rank is not None:
            return iter(self.sampler.of(self.rank))
        everyone = [self.sampler.of(rank) for rank in range(self.sampler.size)]
        return ([row for batch in batches for row in batch] for batches in zip(*everyone, strict=True))


@dataclass(frozen=True)
class Looped:
    """A run of ``mw.Loop``."""

    shares: Shares
    teacher: Any = Started
    micro_batches: int = 1
    epochs: tuple[int, int] = (0, 2)
    """From which to which."""
    spread_trusted: bool = False
    """Whether the trusted loader has a DistributedSampler."""
    sharded: bool = False


def trusted_loader(plan: Looped, rank: int, size: int) -> DataLoader[Any]:
    rows, parted = pairs(20, 2), plan.spread_trusted and size > 1
    if not parted:
        return DataLoader(
            rows, batch_size=7 if not plan.spread_trusted else 2 * plan.shares.size, shuffle=True
        )
    return DataLoader(rows, batch_size=2, sampler=DistributedSampler(rows, num_replicas=size, rank=rank))


def looped(
    rank: int, size: int, plan: Looped, folder: Path, before: dict[str, Any] | None = None
) -> tuple[Found, mw.Loop, dict[str, Any]]:
    """What a run has learnt, and its checkpoint; of one process on the joined batches: ``size`` 1."""
    net = module(0 if plan.sharded else rank)
    model = net
    if size > 1 and plan.sharded:
        for part in (net[0], net[3], net):
            fully_shard(part)
    elif size > 1:
        model = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    batches = Own(plan.shares, rank if size > 1 else None)
    loop = mw.Loop(
        model,
        optimizer,
        DataLoader(pairs(plan.shares.rows, 1), batch_sampler=batches),  # type: ignore[arg-type]
        trusted_loader(plan, rank, size),
        teacher=plan.teacher,
        teacher_learning_rate=0.01,
        micro_batches=plan.micro_batches,
        folder=folder,
    )
    if before is not None:
        net.load_state_dict(before["net"])
        optimizer.load_state_dict(before["optimizer"])
        loop.load_state_dict(before["loop"])
    for epoch in range(*plan.epochs):
        plan.shares.set_epoch(epoch)
        for number, (x, y, weights) in enumerate(loop, start=1):
            due = number % plan.micro_batches == 0
            with nullcontext() if size == 1 or due else model.no_sync():  # type: ignore[operator]
                losses = F.cross_entropy(model(x), y, reduction="none")
                ((weights * losses).mean() / plan.micro_batches).backward()
            if due:
                optimizer.step()
                optimizer.zero_grad()
    state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "loop": loop.state_dict()}
    return seen(loop.weighing, net), loop, state


def seen(weighing: Any, net: nn.Module) -> Found:
    """What a run has learnt, in the last batch's full precision and in that of tables."""
    live = weighing.reweighter
    found = {f"student.{name}": whole(p.detach()) for name, p in net.named_parameters()}
    found |= {f"teacher.{name}": value for name, value in live.teacher.state_dict().items()}
    found |= {"last": live.last.weights, "losses": live.last.losses, "index": live.last.index}
    return found | {"history": weighing.history.weights, "history.loss": weighing.history.loss}


def told(weighed: Any) -> list[Any]:
    """What is said of the rows."""
    return [weighed.weights().to_dict("list"), weighed.suspects().to_dict("list")]


def loop_in_a_process(rank: int, size: int, plan: Looped, folder: Path) -> tuple[Found, list[Any]]:
    """``looped``; the first process writes the page, by itself unless it holds shards alone."""
    found, loop, _ = looped(rank, size, plan, folder / f"run-{rank}")
    if rank == 0 or plan.sharded:
        loop.report(folder / "page.html")
    torch.distributed.barrier()
    return found, told(loop)


def looped_on(rank: int, size: int, folder: Path) -> tuple[Found, Found]:
    """Two epochs, and two more from what the first process kept; four in a row."""
    shares, kept = Shares(24, size, 8), folder / "kept.pt"
    _, _, state = looped(rank, size, Looped(shares, "recall"), folder)
    if rank == 0:
        torch.save(state, kept)
    torch.distributed.barrier()
    before = torch.load(kept, weights_only=True)
    resumed, _, _ = looped(rank, size, Looped(shares, "recall", epochs=(2, 4)), folder, before)
    return resumed, looped(rank, size, Looped(shares, "recall", epochs=(0, 4)), folder)[0]


def looped_off(rank: int, size: int, folder: Path) -> tuple[list[str], bool]:
    """What is said where the file of the first process's epochs is gone; whether each goes on from its own
    state where it is back, with ``folder`` in the first alone."""
    shares = Shares(24, size, 8)
    place: Any = folder / "run" if rank == 0 else None
    found, _, _ = looped(rank, size, Looped(shares, "recall", epochs=(0, 4)), place)
    _, _, state = looped(rank, size, Looped(shares, "recall", epochs=(0, 3)), place)
    kept = io.BytesIO()
    torch.save(state, kept)
    kept.seek(0)
    before = torch.load(kept, weights_only=True)
    torch.distributed.barrier()
    file, said = folder / "run" / BY_EPOCH, []
    for there in (False, True):
        if rank == 0:
            file.rename(folder / "away") if not there else (folder / "away").rename(file)
        with nullcontext() if there else pytest.raises(CheckpointError) as caught:
            again, _, _ = looped(rank, size, Looped(shares, "recall", epochs=(3, 4)), place, before)
        if not there:
            said.append(str(caught.value))
    assert len(before["loop"]["history"]["filed"]) == 2
    return said, all(torch.equal(again[name], value) for name, value in found.items())


def loop_refusals(rank: int, size: int) -> list[str]:
    """A module that nothing keeps alike, and rows on both sides."""
    net, rows = module(), pairs(12, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loader = DataLoader(rows, batch_size=2, sampler=DistributedSampler(rows))
    said = []
    for error, given in ((mw.MetaweightError, net), (ValueError, DistributedDataParallel(net))):
        with pytest.raises(error) as caught:
            mw.Loop(given, optimizer, loader, rows)
        said.append(str(caught.value))
    return said


def table(count: int, seed: int, wrong: bool = False) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, 4)).astype(np.float32)
    turned = wrong & (np.arange(count) % 4 == 0)
    return x, ((x[:, 0] > 0) ^ turned).astype(int)


SHORT = {"epochs": 4, "warmup_epochs": 1, "batch_size": 15, "meta_batch_size": 9}


def net_of_table() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def fitted(rank: int, size: int, model: str, folder: Path) -> dict[str, Any]:
    """What ``mw.fit`` gives in a process; module: one of the user's own, other numbers in each."""
    given: Any = model
    if model == "module":
        given = net_of_table()
        with torch.no_grad():
            given[0].weight += rank
    options: dict[str, Any] = {"folder": folder, "plain_run": True}
    if model != "module":
        options["model_options"] = {"width": 8, "depth": 1, "dropout": 0.0}
    before = torch.get_rng_state()
    result = mw.fit(given, table(100, 1, True), table(20, 2), table(30, 3), **SHORT, **options)
    assert torch.equal(before, torch.get_rng_state())
    assert result.gain is not None
    result.report(folder.parent / f"page-{rank}.html")
    return {
        "weights": result.weights,
        "figures": (result.figures["accuracy"], result.gain.reached, result.gain.plain),
        "suspects": result.suspects()["index"].tolist(),
        "folder": result.folder,
        "said": result.suspects()["share"].to_numpy(),
    }


def fit_refusals(rank: int, size: int, folder: Path) -> list[str]:
    """Other rows, other options, and a folder that is in the way."""
    train, meta = table(40, 1), table(10, 2)
    own = table(40, 1 + rank)
    taken = folder / "taken"
    taken.mkdir(exist_ok=True)
    calls: Sequence[tuple[Any, dict[str, Any]]] = (
        (own, {}),
        (train, {"lr": 0.01 * (1 + rank)}),
        (train, {"folder": taken}),
    )
    said = []
    for rows, options in calls:
        with pytest.raises((ValueError, FileExistsError)) as caught:
            mw.fit("tabular-mlp", rows, meta, meta, **SHORT, **options)
        said.append(str(caught.value))
    return said


def estimated(rank: int, size: int) -> dict[str, Any]:
    """What an estimator has learnt, probes among its rows."""
    (x, y), (checked, right) = table(100, 1, True), table(20, 2)
    options = {"width": 8, "depth": 1, "dropout": 0.0}
    model = mw.ReweightedClassifier(model_options=options, probes=0.1, random_state=0, verbose=True, **SHORT)
    with redirect_stdout(io.StringIO()) as printed:
        model.fit(x, y, X_meta=checked, y_meta=right)
    return {
        "weights": model.sample_weight_,
        "said": model.predict_proba(x),
        "printed": len(printed.getvalue().splitlines()),
    }


def estimator_refusal(rank: int, size: int) -> str:
    x, y = table(40, 1)
    np.random.seed(rank)
    with pytest.raises(ValueError, match="other") as caught:
        mw.ReweightedClassifier(**SHORT).fit(x, y, X_meta=x[:8], y_meta=y[:8])
    return str(caught.value)
