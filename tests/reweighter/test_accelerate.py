"""``weigh`` in the loop that Hugging Face's Accelerate asks for, against the same loop in torch alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from slowly import covering, slowly
from step_parts import ByLoss
from students import batch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import metaweight as mw
from metaweight.data import Indexed, collate

pytest.importorskip("accelerate")

EPOCHS = 2


class Run:
    """A student with dropout, its optimizer, schedule, shuffled loader and teacher: the same at each call."""

    def __init__(self, engine: str, schedule: str, accelerator: Any = None) -> None:
        torch.manual_seed(0)
        norm = nn.LayerNorm(8) if engine == "ghost" else nn.BatchNorm1d(8)
        head = [nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3)]
        self.module: nn.Module = nn.Sequential(nn.Flatten(), nn.Linear(24, 8), norm, *head).double()
        self.optimizer: Any = torch.optim.SGD(self.module.parameters(), lr=0.2, momentum=0.9)
        self.schedule: Any = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.8)
        x, y = torch.randn(33, 3, 8).double(), torch.randint(3, (33,))
        order = torch.Generator().manual_seed(1)
        self.loader: Any = DataLoader(
            Indexed(TensorDataset(x, y)), 6, shuffle=True, collate_fn=collate, generator=order
        )
        if accelerator is not None:
            prepared = accelerator.prepare(self.module, self.optimizer, self.schedule, self.loader)
            self.module, self.optimizer, self.schedule, self.loader = prepared
        self.teacher, self.meta = ByLoss().double(), batch((3, 8), 5, 50)
        self.reweighter = mw.Reweighter(
            mw.Student(self.module),
            self.teacher,
            optimizer=self.optimizer,
            teacher_optimizer=torch.optim.SGD(self.teacher.parameters(), lr=0.05),
            engine=engine,
            schedule=schedule,
        )
        torch.manual_seed(2)

    def loss(self, train: mw.Batch, parts: int) -> Tensor:
        weights = self.reweighter.weigh(train, self.meta, micro_batches=parts)
        losses = F.cross_entropy(train.call(self.module), train.targets, reduction="none")
        return (weights * losses).mean()

    def values(self) -> list[Tensor]:
        """Of the student, its momentum, the schedule, the teacher, and the weights that it gave."""
        seen = [self.teacher(state).detach() for state in self.teacher.tracked]
        momentum = [state["momentum_buffer"] for state in self.reweighter.live.optimizer.state.values()]
        rates = [torch.tensor(self.schedule.get_last_lr())]
        return [*self.module.state_dict().values(), *momentum, *rates, *self.teacher.parameters(), *seen]


def plain(run: Run, parts: int) -> Run:
    """The loop as it is written without Accelerate; the last step of an epoch may have fewer parts."""
    for _ in range(EPOCHS):
        for number, train in enumerate(run.loader, start=1):
            (run.loss(train, parts) / parts).backward()
            if number % parts == 0 or number == len(run.loader):
                torch.nn.utils.clip_grad_norm_(run.module.parameters(), 0.5)
                run.optimizer.step()
                run.schedule.step()
                run.optimizer.zero_grad()
    return run


def accelerated(run: Run, parts: int, accelerator: Any) -> Run:
    """The loop as Accelerate's guide writes it."""
    for _ in range(EPOCHS):
        for train in run.loader:
            with accelerator.accumulate(run.module):
                accelerator.backward(run.loss(train, parts))
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(run.module.parameters(), 0.5)
                run.optimizer.step()
                run.schedule.step()
                run.optimizer.zero_grad()
    return run


@pytest.mark.parametrize(("parts", "schedule"), covering([1, 4], ["lookahead", "online"]))
@pytest.mark.parametrize("engine", ["forward", "ghost", *slowly("higher", "double", "difference", "auto")])
def test_accelerates_loop_is_the_plain_one(
    engine: str, schedule: str, parts: int, accelerator: Callable[..., Any]
) -> None:
    expected = plain(Run(engine, schedule), parts)
    theirs = accelerator(gradient_accumulation_steps=parts)
    got = accelerated(Run(engine, schedule, theirs), parts, theirs)
    assert type(got.optimizer).__name__ == "AcceleratedOptimizer"
    assert got.reweighter.steps == expected.reweighter.steps == EPOCHS * len(expected.loader)
    assert bool(expected.teacher.score.weight.any())
    for a, b in zip(got.values(), expected.values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


class Cast(nn.Module):
    """What Accelerate makes of a module in mixed precision: cast inside, float32 outside."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = self.module(x)
        assert outputs.dtype == torch.bfloat16
        return outputs.float()


@pytest.mark.parametrize("engine", ["higher", "reverse", "forward", "double", "ghost"])
def test_mixed_precision_inside_of_the_module(engine: str, accelerator: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(24, 8), nn.Tanh(), nn.Linear(8, 3))
    prepared = accelerator(mixed_precision="bf16").prepare(copy.deepcopy(module))
    x, y = torch.randn(12, 3, 8), torch.randint(3, (12,))
    train, meta = (mw.Batch((x[rows],), y[rows], rows) for rows in torch.arange(12).split(6))
    seen = []
    for one in (Cast(module), prepared):
        torch.manual_seed(1)
        teacher = ByLoss()
        optimizer = torch.optim.SGD(one.parameters(), lr=0.2, momentum=0.9)
        own = torch.optim.SGD(teacher.parameters(), lr=1.0)
        reweighter = mw.Reweighter(
            mw.Student(one), teacher, optimizer=optimizer, teacher_optimizer=own, engine=engine
        )
        seen.append(reweighter.weigh(train, meta))
    assert float(seen[0].std()) > 1e-4
    torch.testing.assert_close(seen[1], seen[0], rtol=0, atol=1e-7)
