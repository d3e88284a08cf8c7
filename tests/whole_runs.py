"""Small runs to be recorded, and each one written out: torch's optimizer, a loop, a loss at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from students import STUDENTS
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import metaweight as mw
from metaweight.core.randomness import forked_rng
from metaweight.data.seeding import derive
from metaweight.influence import WholeRun
from metaweight.testing.oracles import plain_step
from metaweight.training.learning_rate import LearningRate

SAMPLES, BATCH = 24, 6
WARMUP = 10
STEP = 2e-4
"""Of central differences."""


class Rows:
    """Batches of some rows in an order drawn for each epoch; ``noise``: the inputs are drawn anew, too."""

    def __init__(self, whole: mw.Batch, size: int = BATCH, *, noise: float = 0.0) -> None:
        self.whole, self.size, self.noise = whole, size, noise

    def __len__(self) -> int:
        return len(self.whole) // self.size

    def batch(self, epoch: int, position: int) -> mw.Batch:
        order = torch.randperm(len(self.whole), generator=derive(1, "order", epoch))
        rows = self.whole.rows(order[position * self.size : (position + 1) * self.size])
        if not self.noise:
            return rows
        drawn = torch.randn(
            rows.args[0].shape, generator=derive(2, "noise", epoch, position), dtype=torch.float64
        )
        return mw.Batch((rows.args[0] + self.noise * drawn,), rows.targets, rows.index)


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], Any]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-2),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, eps=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, eps=1e-3, weight_decay=0.1),
    "two": lambda p: [
        torch.optim.SGD(p[:2], lr=0.1, momentum=0.5, nesterov=True),
        torch.optim.Adam(p[2:], lr=0.01, eps=1e-3),
    ],
}


def rows(shape: tuple[int, ...], count: int, seed: int) -> mw.Batch:
    """Random inputs and labels of three classes, numbered from 0."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, *shape, generator=g, dtype=torch.float64)
    return mw.Batch((x,), torch.randint(0, 3, (count,), generator=g), torch.arange(count))


@dataclass
class Case:
    """A student, what it is trained on, by what, and what is asked of its end."""

    build: Callable[[], nn.Module]
    source: Rows
    meta: mw.Batch
    optimizer: str = "sgd"
    epochs: int = 50
    max_norm: float | None = 0.5
    course: str = "cosine"
    loss: Any = None
    """(outputs, targets) -> [U]; None: cross entropy."""

    def start(self) -> tuple[nn.Module, Any]:
        """The module at its first weights, and what trains it."""
        torch.manual_seed(7)
        module = self.build().double()
        return module, OPTIMIZERS[self.optimizer]([p for p in module.parameters() if p.requires_grad])

    def recorded(self, weights: Tensor | None = None, **options: Any) -> WholeRun:
        """The run, to be recorded."""
        module, optimizer = self.start()
        student = mw.Student(module) if self.loss is None else mw.Student(module, self.loss)
        return WholeRun(
            student,
            self.source,
            optimizer,
            epochs=self.epochs,
            learning_rate=LearningRate(self.course, warmup_steps=WARMUP),
            max_norm=self.max_norm,
            weights=weights,
            **options,
        )

    def written_out(self, weights: Tensor) -> nn.Module:
        """The module after the run, as a loop of anybody's would train it."""
        module, optimizer = self.start()
        parts = optimizer if isinstance(optimizer, list) else [optimizer]
        groups = [group for part in parts for group in part.param_groups]
        first = [group["lr"] for group in groups]
        steps, each = self.epochs * len(self.source), len(self.source)
        course = LearningRate(self.course, warmup_steps=WARMUP)
        for step in range(steps):
            for group, rate in zip(groups, first, strict=True):
                group["lr"] = rate * course.factor(step, steps=steps, steps_per_epoch=each)
            batch = self.source.batch(*divmod(step, each))
            self._step(module, parts, batch, weights[batch.index])
        return module

    def _step(self, module: nn.Module, parts: list[Any], batch: mw.Batch, weights: Tensor) -> None:
        if len(parts) == 1 and self.loss is None:
            plain_step(module, parts[0], batch, weights, self.max_norm)
            return
        for part in parts:
            part.zero_grad()
        (weights * self._losses(module, batch)).mean().backward()
        if self.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(module.parameters(), self.max_norm)
        for part in parts:
            part.step()

    def loss_at_the_end(self, weights: Tensor, mode: str = "eval") -> float:
        """The mean loss of the trusted rows after the run."""
        with forked_rng(torch.device("cpu")), sdpa_kernel(SDPBackend.MATH):
            module = self.written_out(weights).train(mode == "train")
            with torch.no_grad():
                return float(self._losses(module, self.meta).mean())

    def _losses(self, module: nn.Module, batch: mw.Batch) -> Tensor:
        outputs = batch.call(module)
        if self.loss is None:
            return F.cross_entropy(outputs, batch.targets, reduction="none")
        found = self.loss(outputs, batch.targets)
        return found if isinstance(found, Tensor) else found.loss  # type: ignore[no-any-return]


def case(student: str, **options: Any) -> Case:
    """One of ``STUDENTS``; its images or words."""
    build, shape, _ = STUDENTS[student]
    return Case(build, Rows(rows(shape, SAMPLES, 3)), rows(shape, 5, 4), **options)


def mlp(**options: Any) -> Case:
    """Two smooth layers."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.GELU(), nn.Linear(6, 3))

    return Case(build, Rows(rows((16,), SAMPLES, 3)), rows((16,), 5, 4), **options)


def direction(case: Case) -> Tensor:
    """[N], of length 1."""
    g = torch.Generator().manual_seed(11)
    drawn = torch.randn(len(case.source.whole), generator=g, dtype=torch.float64)
    return drawn / drawn.norm()


def weights_of(case: Case) -> Tensor:
    """No two alike."""
    g = torch.Generator().manual_seed(12)
    return torch.rand(len(case.source.whole), generator=g, dtype=torch.float64) + 0.5


def off(case: Case, mode: str = "eval") -> float:
    """Relative error of the slope along a direction: differences of order 4 of the run written out."""
    weights, along = weights_of(case), STEP * direction(case)
    ours = case.recorded(weights).influence(case.meta, mode=mode)  # type: ignore[arg-type]
    near = case.loss_at_the_end(weights + along, mode) - case.loss_at_the_end(weights - along, mode)
    far = case.loss_at_the_end(weights + 2 * along, mode) - case.loss_at_the_end(weights - 2 * along, mode)
    expected = (8 * near - far) / (12 * STEP)
    assert abs(expected) > 1e-5
    return abs(float(ours.values @ direction(case)) - expected) / abs(expected)


TRAIN, WRONG = 48, 24
"""Samples of ``planted``, and those of them with a wrong label, the first ones."""


def three_classes(count: int, seed: int, *, wrong: int = 0) -> mw.Batch:
    """Points about three centres; the labels of the first ``wrong`` ones are another class."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=g)
    x = 2 * torch.eye(3, 6, dtype=torch.float64)[labels] + 0.7 * torch.randn(
        count, 6, dtype=torch.float64, generator=g
    )
    labels[:wrong] = (labels[:wrong] + torch.randint(1, 3, (wrong,), generator=g)) % 3
    return mw.Batch((x,), labels, torch.arange(count))


def planted(**options: Any) -> Case:
    """Half of the labels are wrong."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3))

    case = {"epochs": 5, "max_norm": None, **options}
    return Case(build, Rows(three_classes(TRAIN, 1, wrong=WRONG), 12), three_classes(30, 2), **case)


class Stopped(Exception):
    """By hand."""


def stopping(after: int) -> Callable[[int, int], None]:
    """A ``tell`` that raises when it is told for the ``after``-th time."""
    calls: list[int] = []

    def tell(done: int, of: int) -> None:
        calls.append(done)
        if len(calls) == after:
            raise Stopped

    return tell
