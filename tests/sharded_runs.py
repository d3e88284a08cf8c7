"""Students of other kinds in ``fully_shard``, to be held against one process with the whole parameters."""

from __future__ import annotations

from collections.abc import Callable

import parted_runs as runs
import torch
from parted_runs import DOUBLE
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.optim import SGD, AdamW

import metaweight as mw


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
    for step in range(12):
        report = live.step(batch(7, 100 + step).part(rank, size), batch(3, 900 + step).part(rank, size))
    return state(live) | {"weights": report.weights}


def loop_of_the_users(rank: int, size: int, shard: bool, pieces: int) -> dict[str, Tensor]:
    """``weigh`` in a loop whose steps are the user's, each on the gradients of several micro-batches."""
    live = built("pictures", shard)
    module, optimizer = live.student.module, live.optimizer
    for step in range(8):
        optimizer.zero_grad()
        for piece in range(pieces):
            train = runs.batch(8, 300 + pieces * step + piece).part(rank, size)
            weights = live.weigh(train, runs.batch(4, 900 + step).part(rank, size), micro_batches=pieces)
            losses = nn.functional.cross_entropy(module(train.args[0]), train.targets, reduction="none")
            ((weights * losses).mean() / pieces).backward()
        optimizer.step()
    return state(live)
