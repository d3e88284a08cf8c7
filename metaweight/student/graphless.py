"""Passes without a graph, of students that take a gradient in their forward pass too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from metaweight.core.randomness import RandomState
from metaweight.student.structure import map_tensors

if TYPE_CHECKING:
    from metaweight.student.student import Student

T = TypeVar("T")
# as torch words it where autograd.grad runs on what no_grad left without a graph
_NO_GRAPH = ("does not require grad", "do not require grad")


class Graphless:
    """How a student's passes without a graph are made: found out at the first of them, and remembered.

    A student that calls torch.autograd.grad in its forward pass (forces, gradient penalties) needs the graph
    of its own pass there; its results are detached then.
    """

    def __init__(self) -> None:
        self._needs_graph: bool | None = None

    def run(self, student: Student, call: Callable[[], T]) -> T:
        """``call()`` without a graph behind its result."""
        if not self._needs_graph:
            random = RandomState.of(student.device)
            buffers: Mapping[str, Tensor] = student.buffers() if self._needs_graph is None else {}
            try:
                with torch.no_grad():
                    result = call()
            except RuntimeError as error:
                if not any(phrase in str(error) for phrase in _NO_GRAPH):
                    raise
                random.restore(student.device)
                student.put(buffers)
            else:
                self._needs_graph = False
                return result
        with torch.enable_grad():
            detached: T = map_tensors(Tensor.detach, call())
        self._needs_graph = True
        return detached
