"""learn2learn: the virtual step is MAML's adaptation of a clone; plain SGD is all it has."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

import torch

import metaweight as mw
from benchmarks.speed.peers.base import Gradient, Step, Task, second_order


def closed_door(name: str) -> None:
    """Make a package importable without running its ``__init__``.  Raises ImportError where it is missing."""
    found = find_spec(name)
    if found is None or found.submodule_search_locations is None:
        raise ImportError(f"no module named {name!r}")
    package = ModuleType(name)
    package.__path__ = list(found.submodule_search_locations)
    sys.modules[name] = package


# the packages' front doors import torchvision, gym and qpth, none of which a step of MAML uses
for package in ("learn2learn", "learn2learn.algorithms"):
    closed_door(package)
from learn2learn.algorithms.maml import MAML  # noqa: E402


def prepare(task: Task) -> Step:
    """Virtual step on a clone, meta loss, teacher's step, real step with the real optimizer."""
    student, teacher = task.student, task.teacher
    learner = MAML(student.module, lr=task.optimizer.param_groups[0]["lr"], allow_unused=True)

    def step(train: mw.Batch, meta: mw.Batch) -> Gradient:
        with second_order():
            copy = learner.clone()
            forward = student(train, module=copy)
            copy.adapt((teacher(forward.state()) * forward.loss).mean())
            gradient = torch.autograd.grad(student(meta, module=copy).loss.mean(), task.wrt)
        task.teach(gradient)
        task.real_step(train)
        return gradient

    return step
