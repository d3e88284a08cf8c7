"""A source of batches and a callback that stops, for tests of whole runs."""

from __future__ import annotations

import os
import signal

import torch
from students import SHAPE, batch
from torch import Tensor

import metaweight as mw
from metaweight.training.callbacks import Callback, Run
from metaweight.training.trainer import Trainer


class Batches:
    """A Source of random batches, each a function of its place."""

    def __init__(self, count: int, seed: int, *, nan_at: tuple[int, int] | None = None) -> None:
        self.count, self.seed, self.nan_at = count, seed, nan_at

    def __len__(self) -> int:
        return self.count

    def batch(self, epoch: int, position: int) -> mw.Batch:
        one = batch(SHAPE, 6, 1000 * self.seed + 10 * epoch + position)
        index = torch.arange(6) + 6 * position
        x = one.inputs[0] * float("nan") if (epoch, position) == self.nan_at else one.inputs[0]
        return mw.Batch((x,), one.targets, index)


def live(run: Trainer) -> list[Tensor]:
    r = run.reweighter
    assert r.teacher_optimizer is not None
    states = [*r.optimizer.state.values(), *r.teacher_optimizer.state.values()]
    tensors = [v for s in states for v in s.values() if isinstance(v, Tensor)]
    return [*r.student.module.state_dict().values(), *r.teacher.state_dict().values(), *tensors]


class StopAt(Callback):
    """Sends this process a Ctrl-C at one step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, run: Run, batch: mw.Batch, report: mw.StepReport) -> None:
        if run.reweighter.steps == self.step:
            os.kill(os.getpid(), signal.SIGINT)
