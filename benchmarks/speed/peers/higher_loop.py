"""The MW-Net loop that everybody writes by hand, over ``higher``: the published code's order of work."""

from __future__ import annotations

import higher
import torch

import metaweight as mw
from benchmarks.speed.peers.base import Gradient, Step, Task, second_order


def prepare(task: Task) -> Step:
    """Virtual step on a copy, meta loss, teacher's step, real step.  Shu et al. (2019), algorithm 1."""
    student, teacher = task.student, task.teacher

    def step(train: mw.Batch, meta: mw.Batch) -> Gradient:
        with second_order(), higher.innerloop_ctx(student.module, task.optimizer) as (copy, inner):
            virtual = student(train, module=copy)
            inner.step((teacher(virtual.state()) * virtual.loss).mean())
            loss = student(meta, module=copy).loss.mean()
            gradient = torch.autograd.grad(loss, task.wrt)
        task.teach(gradient)
        task.real_step(train)
        return gradient

    return step
