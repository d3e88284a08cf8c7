"""Betty: the student and the teacher as two problems, with roll-back for the classical look-ahead."""

from __future__ import annotations

import logging

from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.logging.logger_base import get_logger
from betty.problems import ImplicitProblem
from torch import Tensor

import metaweight as mw
from benchmarks.speed.peers.base import Gradient, Step, Task


class Inner(ImplicitProblem):
    """The student's weighted loss."""

    task: Task
    batch: mw.Batch

    def get_batch(self) -> mw.Batch:
        return self.batch

    def training_step(self, batch: mw.Batch) -> Tensor:
        forward = self.task.student(batch)
        return (self.outer(forward.state()) * forward.loss).mean()


class Outer(ImplicitProblem):
    """The teacher's meta loss."""

    task: Task
    batch: mw.Batch
    seen: Gradient

    def get_batch(self) -> mw.Batch:
        return self.batch

    def training_step(self, batch: mw.Batch) -> Tensor:
        return self.task.student(batch).loss.mean()

    def grad_callback(self) -> None:
        self.seen = tuple(p.grad for p in self.trainable_parameters())


def prepare(task: Task, kind: str) -> Step:
    """``kind``: ``darts`` or ``sama``.  Its gradient lacks the step's factor lr, put in here."""
    get_logger().setLevel(logging.WARNING)
    inner = Inner("inner", Config(type=kind), task.student.module, task.optimizer)
    outer = Outer("outer", Config(), task.teacher, task.teacher_optimizer)
    inner.task = outer.task = task
    dependencies = {"l2u": {inner: [outer]}, "u2l": {outer: [inner]}}
    engine = Engine([outer, inner], EngineConfig(roll_back=True), dependencies)
    # Betty builds both optimizers anew
    inner.optimizer.load_state_dict(task.optimizer.state_dict())
    factor = task.optimizer.param_groups[0]["lr"]

    def step(train: mw.Batch, meta: mw.Batch) -> Gradient:
        inner.batch, outer.batch = train, meta
        engine.global_step += 1
        engine.train_step()
        return tuple(factor * g for g in outer.seen)

    return step
