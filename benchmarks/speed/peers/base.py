"""What a peer is given, what it gives, and the table of peers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer

import metaweight as mw
from metaweight.core.registry import Registry

Gradient = tuple[Tensor, ...]
"""Of the meta loss, for each parameter of the teacher; empty where an iteration computes none."""
Step = Callable[[mw.Batch, mw.Batch], Gradient]
"""One iteration on a train batch and a meta batch; the teacher's gradient that it used."""


@dataclass(frozen=True)
class Task:
    """A student and a teacher to train.

    ``student(batch)`` runs the student, ``student(batch, module=copy)`` a copy of it; ``.loss`` [U] of
    the result keeps its graph, ``teacher(result.state())`` gives the weights [U].
    """

    student: mw.Student
    teacher: mw.Teacher
    optimizer: Optimizer
    teacher_optimizer: Optimizer

    @property
    def wrt(self) -> list[Tensor]:
        """The teacher's parameters."""
        return list(self.teacher.parameters())

    def teach(self, gradient: Gradient) -> None:
        """The teacher's step."""
        for parameter, value in zip(self.teacher.parameters(), gradient, strict=True):
            parameter.grad = value
        self.teacher_optimizer.step()
        self.teacher_optimizer.zero_grad(set_to_none=True)

    def real_step(self, train: mw.Batch) -> None:
        """The student's step with the new weights: forward again, as the published loops do."""
        forward = self.student(train)
        with torch.no_grad():
            weights = self.teacher(forward.state())
        self.optimizer.zero_grad(set_to_none=True)
        (weights * forward.loss).mean().backward()
        self.optimizer.step()


@dataclass(frozen=True)
class Peer:
    """Where a peer's code is, and how its library is had."""

    module: str
    """Of ``benchmarks.speed.peers``; it has ``prepare(task) -> Step``."""
    distribution: str
    install: str
    """What to type."""
    note: str = ""
    """Why its gradient is not that of ``higher``."""
    options: tuple[str, ...] = ()
    """For ``prepare``, after the task."""


BETTY = "pip install --no-deps --ignore-requires-python betty-ml==0.2.1"
BETTY_NOTE = (
    "differences around the weights after the virtual step instead of before it, in which the moved losses "
    "move the teacher's input too; the factor lr that its gradient lacks is put in"
)
peers: Registry[Peer] = Registry("peer")
peers.add("higher-loop", Peer("higher_loop", "higher", "pip install higher==0.2.1"))
peers.add(
    "torchopt",
    Peer(
        "torchopt_sgd",
        "torchopt",
        "pip install --no-deps torchopt==0.7.3 optree graphviz",
        "the optimizer's momentum is handed over by hand; in place of Adam it takes a plain SGD step",
    ),
)
peers.add("betty-darts", Peer("betty_problems", "betty-ml", BETTY, BETTY_NOTE, ("darts",)))
peers.add("betty-sama", Peer("betty_problems", "betty-ml", BETTY, BETTY_NOTE, ("sama",)))
peers.add(
    "learn2learn",
    Peer(
        "learn2learn_maml",
        "learn2learn",
        "see benchmarks/speed/README.md",
        "its virtual step is plain SGD: no momentum, no weight decay, no Adam",
    ),
)


def load(name: str) -> Callable[[Task], Step]:
    """``prepare`` of a peer.  Raises KeyError for an unknown one, ImportError where it is not installed."""
    peer = peers[name]
    prepare = import_module(f"benchmarks.speed.peers.{peer.module}").prepare
    return lambda task: prepare(task, *peer.options)


def second_order() -> AbstractContextManager[None]:
    """Attention in the one form that can be differentiated twice."""
    return sdpa_kernel(SDPBackend.MATH)


def versions() -> dict[str, str]:
    """Distribution -> version of the peers that are installed."""
    found = {}
    for name in dict.fromkeys(peers[p].distribution for p in peers.names()):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
