"""Where every variant starts from: the same student, optimizer, teacher and batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import nn
from torch.optim import Optimizer

import metaweight as mw
from benchmarks.speed.students import subject
from benchmarks.speed.variants import Setting


@dataclass(frozen=True)
class Start:
    """A student's module with its optimizer, and a teacher."""

    module: nn.Module
    optimizer: Optimizer
    teacher: mw.Teacher

    @cached_property
    def teacher_optimizer(self) -> Optimizer:
        """The one that the teacher learns by."""
        return torch.optim.Adam(self.teacher.parameters(), lr=1e-3)


def random_pair(setting: Setting, generator: torch.Generator) -> tuple[mw.Batch, mw.Batch]:
    """A train batch and a meta batch that share no sample."""
    kind = subject(setting.model)
    train = kind.random_batch(setting.batch, 0, generator)
    return train, kind.random_batch(setting.meta_batch, setting.batch, generator)


def small_batch(setting: Setting, generator: torch.Generator) -> mw.Batch:
    """Two samples."""
    return subject(setting.model).random_batch(2, 0, generator)


def fresh_start(setting: Setting) -> Start:
    """First weights, the same ones at each call.

    The teacher is ``mw-net``, so small that nearly all of the cost is the meta-gradient's.
    """
    kind = subject(setting.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setting.seed)
        module = kind.module()
        spec = kind.student(module).spec(small_batch(setting, torch.Generator()))
        teacher = mw.build_teacher("mw-net", spec=spec)
    return Start(module, kind.optimizer(module.parameters()), teacher)


def warm_start(setting: Setting, dtype: torch.dtype, *, steps: int = 3) -> Start:
    """A student some plain steps on, without dropout, and a teacher all of whose parameters count.

    The steps fill the optimizer's buffers: a cold Adam step has no usable derivative.  They are taken in
    float64, so that every ``dtype`` gets the same weights to rounding.
    """
    kind, generator = subject(setting.model), torch.Generator().manual_seed(setting.seed)
    fresh = fresh_start(setting)
    module, teacher = fresh.module.to(torch.float64), fresh.teacher.to(torch.float64)
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # masks are drawn by each library in its own order
    optimizer = kind.optimizer(module.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        kind.loss(module, in_dtype(random_pair(setting, generator)[0], torch.float64)).backward()
        optimizer.step()
    optimizer.zero_grad()
    for p in teacher.parameters():
        # an output layer of zeros, as the teacher is born, would let no gradient through
        p.data.add_(0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    state = optimizer.state_dict()
    module, teacher = module.to(dtype), teacher.to(dtype)
    cast = kind.optimizer(module.parameters())
    cast.load_state_dict(state)
    return replace(fresh, module=module, optimizer=cast, teacher=teacher)


def in_dtype(batch: mw.Batch, dtype: torch.dtype) -> mw.Batch:
    """The batch with its real-valued inputs in ``dtype``."""
    inputs = tuple(v.to(dtype) if v.is_floating_point() else v for v in batch.inputs)
    return mw.Batch(inputs, batch.targets, batch.index)


def head_of(batch: mw.Batch, units: int) -> mw.Batch:
    """The first ``units`` samples, or all where there are no more."""
    if units >= len(batch):
        return batch
    inputs = tuple(v[:units] for v in batch.inputs)
    return mw.Batch(inputs, batch.targets[:units], batch.index[:units])
