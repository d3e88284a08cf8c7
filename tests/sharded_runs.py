"""Students of other kinds in ``fully_shard``, to be held against one process with the whole parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import parted_runs as runs
import pytest
import torch
import torch.distributed as dist
from parted_runs import DOUBLE
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.optim import SGD, Adafactor, AdamW

import metaweight as mw
from metaweight.engines.ghost.sharded import ShardedShares


class Translator(nn.Module):
    """Words to words: a tied head, attention with positions, dropout that draws nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(runs.WORDS, 8, padding_idx=runs.PADDING)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True) for _ in range(2)
        )
        self.head = nn.Linear(8, runs.WORDS, bias=False)
        self.head.weight = self.words.weight

    def forward(self, words: Tensor) -> Tensor:
        x = self.words(words)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Pictures(nn.Module):
    """Convolutions over a row of numbers, of which a part is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 6, 3, padding=1, padding_mode="circular"), nn.GroupNorm(2, 6), nn.GELU()
        )
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.head = nn.Linear(36, runs.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x[:, None])
        return self.head(self.frozen(x.transpose(1, 2)).flatten(1))


def translator(shard: bool) -> tuple[mw.Student, Callable[[int, int], mw.Batch]]:
    torch.manual_seed(6)
    net = Translator().to(DOUBLE)
    if shard:
        for block in net.blocks:
            fully_shard(block)
        fully_shard(net)
    loss = mw.losses.TokenCrossEntropy(runs.PADDING)
    return mw.Student(net, loss, taps=("blocks.1",), time_axes=_positions), runs.sentences


def _positions(_tap: str, batch: mw.Batch) -> mw.TimeAxis:
    return mw.TimeAxis(batch.args[0] != runs.PADDING)


def pictures(shard: bool) -> tuple[mw.Student, Callable[[int, int], mw.Batch]]:
    torch.manual_seed(6)
    net = Pictures().to(DOUBLE)
    if shard:
        for part in (net.body[0], net.body, net.head, net):
            fully_shard(part)
    return mw.Student(net, taps=("body",)), runs.batch


STUDENTS = {"translator": translator, "pictures": pictures}


def built(kind: str, shard: bool, engine: str = "auto", optimizer: type = AdamW) -> mw.Reweighter:
    student, batch = STUDENTS[kind](shard)
    teacher = mw.build_teacher("mlp", student.spec(batch(6, 0), samples=runs.SAMPLES))
    options = {"lr": 0.02, "eps": 1e-4} if optimizer is AdamW else {"lr": 0.02}
    return mw.Reweighter(
        student,
        teacher,
        optimizer=optimizer(student.parameters().values(), **options),
        teacher_optimizer=SGD(teacher.parameters(), lr=1.0),
        engine=engine,
    )


def state(live: mw.Reweighter) -> dict[str, Tensor]:
    found = {f"student.{n}": runs.whole(p.detach()) for n, p in live.student.module.state_dict().items()}
    return found | {f"teacher.{n}": value.clone() for n, value in live.teacher.state_dict().items()}


def trained(rank: int, size: int, kind: str, shard: bool) -> dict[str, Tensor]:
    live = built(kind, shard)
    _, batch = STUDENTS[kind](False)
    for step in range(6):
        report = live.step(batch(7, 100 + step).part(rank, size), batch(3, 900 + step).part(rank, size))
    return state(live) | {"weights": report.weights}


def loop_of_the_users(rank: int, size: int, shard: bool, pieces: int) -> dict[str, Tensor]:
    """``weigh`` in a loop whose steps are the user's, each on the gradients of several micro-batches."""
    live = built("pictures", shard)
    module, optimizer = live.student.module, live.optimizer
    for step in range(5):
        optimizer.zero_grad()
        for piece in range(pieces):
            train = runs.batch(8, 300 + pieces * step + piece).part(rank, size)
            weights = live.weigh(train, runs.batch(4, 900 + step).part(rank, size), micro_batches=pieces)
            losses = nn.functional.cross_entropy(module(train.args[0]), train.targets, reduction="none")
            ((weights * losses).mean() / pieces).backward()
        optimizer.step()
    return state(live)


def resumed(
    rank: int, size: int, shard: bool, folder: str, steps: tuple[int, int], optimizer: type
) -> dict[str, Tensor]:
    """Iterations from the checkpoint in ``folder``, where there is one, which is then written anew."""
    live = built("pictures", shard, optimizer=optimizer)
    if steps[0]:
        mw.load_checkpoint(live, folder)
    for step in range(*steps):
        live.step(runs.batch(8, 50 + step).part(rank, size), runs.batch(4, 90 + step).part(rank, size))
    mw.save_checkpoint(live, folder)
    return state(live) | {"steps": torch.tensor(live.steps)}


def damaged(rank: int, size: int, folder: str) -> str:
    """What is said of a checkpoint of which a file of tensors is cut short."""
    live = built("pictures", True)
    live.step(runs.batch(8, 1).part(rank, size), runs.batch(4, 2).part(rank, size))
    mw.save_checkpoint(live, folder)
    largest = max(Path(folder).rglob("*.distcp"), key=lambda path: path.stat().st_size)
    dist.barrier()
    if rank == 0:
        largest.write_bytes(largest.read_bytes()[:-200])
    dist.barrier()
    with pytest.raises(mw.MetaweightError) as caught:
        mw.load_checkpoint(live, folder)
    return str(caught.value)


def precision(rank: int, size: int) -> float:
    """How far the slopes of engine ``difference`` are from the exact engine's."""
    slopes = []
    for engine in ("ghost", "difference"):
        student, batch = pictures(True)
        weights = torch.linspace(0.5, 1.5, 9, dtype=DOUBLE)
        found = mw.hypergradient(
            student,
            SGD(student.parameters().values(), lr=0.1),
            batch(9, 1).part(rank, size),
            batch(4, 2).part(rank, size),
            lambda _state, weights=weights: weights,
            (),
            engine,
        )
        slopes.append(found.slopes[0])
    exact, near = slopes
    return float((exact - near).norm() / exact.norm())


def wrong(rank: int, size: int) -> str:
    """What is said of an exact engine whose gradients are one per mille too long."""
    real = ShardedShares._of_rows
    ShardedShares._of_rows = lambda self, name, scale: real(self, name, scale) * 1.001  # type: ignore[method-assign]
    try:
        return _said(lambda: _step(built("pictures", True), rank, size))
    finally:
        ShardedShares._of_rows = real  # type: ignore[method-assign]


def refusals(rank: int, size: int) -> dict[str, str]:
    """What is said of what takes whole parameters, or of shards that are not known."""
    said = {
        "forward": _said(lambda: _step(built("pictures", True, engine="forward"), rank, size)),
        "adafactor": _said(lambda: built("pictures", True, optimizer=Adafactor)),
    }
    student, batch = pictures(True)
    teacher = mw.build_teacher("mw-net", student.spec(batch(6, 0)))
    optimizer = SGD(student.parameters().values(), lr=0.1)
    several = mw.Reweighter(student, teacher, optimizer=optimizer, unroll=2)
    train, meta = batch(8, 1).part(rank, size), batch(4, 2).part(rank, size)
    said["unroll"] = _said(lambda: several.step([train, train], meta))
    partly = Pictures()
    fully_shard(partly.body)
    said["partly"] = _said(lambda: mw.Student(partly))
    mesh = init_device_mesh("cpu", (1, size), mesh_dim_names=("copies", "shards"))
    said["copies"] = _said(lambda: mw.Student(fully_shard(Pictures(), mesh=mesh)))
    live = built("pictures", True)
    live.student.module.set_requires_gradient_sync(False)
    said["kept"] = _said(lambda: _step(live, rank, size))
    return said


def _step(live: mw.Reweighter, rank: int, size: int) -> None:
    live.step(runs.batch(8, 1).part(rank, size), runs.batch(4, 2).part(rank, size))


def _said(call: Callable[[], object]) -> str:
    with pytest.raises((mw.MetaweightError, ValueError)) as caught:
        call()
    return str(caught.value)


def rounded(rank: int, size: int) -> float:
    """How far slopes are from float32's where parameters are gathered in bfloat16."""
    slopes = []
    for kind in (None, torch.bfloat16):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, runs.CLASSES))
        policy = MixedPrecisionPolicy(kind, torch.float32, torch.float32)
        student = mw.Student(fully_shard(net, mp_policy=policy))
        train, meta = (
            replace(one, inputs=(one.args[0].float(),))
            for one in (runs.batch(24, 1).part(rank, size), runs.batch(8, 2).part(rank, size))
        )
        optimizer = SGD(student.parameters().values(), lr=0.1)
        slopes += mw.hypergradient(student, optimizer, train, meta, _even, ()).slopes
    exact, near = slopes
    return float((exact - near).norm() / exact.norm())


def _even(state: mw.StudentState) -> Tensor:
    return torch.ones_like(state.loss)
