"""What comes from the batch in a pass, and what is a function of parameters alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from metaweight.engines.checks import EngineError

MARK = "_metaweight_pass"
_passes = itertools.count(1)


class Marks:
    """What comes from the batch carries a mark.

    What needs a gradient and has none is a function of parameters alone where its graph says so: where no
    contact is in it.  An unmarked tensor of the batch that needs no gradient is taken for a constant, which
    is right as well: the contact is then a later one.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = names
        """Trainable parameters' names by id."""
        self.nodes: set[Node] = set()
        """Of the graph, where the outputs of contacts and of layers with a rule come from."""
        self.units: int | None = None
        """Length of the batch, as its first tensor has it."""
        self.number = next(_passes)
        self._inputs: list[Tensor] = []

    def take(self, inputs: Any) -> None:
        """Mark a module's inputs as the batch."""
        for tensor in _tensors(inputs):
            self.mark(tensor)
            self._inputs.append(tensor)
            if self.units is None and tensor.dim():
                self.units = len(tensor)

    def forget_inputs(self) -> None:
        """Take the marks away from what is not ours."""
        for tensor in self._inputs:
            vars(tensor).pop(MARK, None)
        self._inputs.clear()

    def mark(self, tensor: Tensor) -> None:
        """``tensor`` comes from the batch."""
        setattr(tensor, MARK, self.number)

    def of_batch(self, tensor: Tensor) -> bool:
        """Whether ``tensor`` comes from the batch."""
        return bool(vars(tensor).get(MARK) == self.number) or (
            tensor.requires_grad and not self.of_parameters(tensor)
        )

    def of_parameters(self, tensor: Tensor) -> bool:
        """Whether ``tensor`` is a function of parameters alone, of one at least."""
        mark = vars(tensor).get(MARK)
        if mark == self.number or not tensor.requires_grad:
            return False
        if tensor.grad_fn is None or mark == (self.number, tensor._version):
            return True
        reached, leaves = self._graph(tensor)
        if reached and leaves:
            raise EngineError(
                f"{min(leaves)!r} meets the batch where torch does not show it to engine 'ghost' (an "
                "autograd.Function, scripted code, or a gradient taken in the forward pass); use "
                "engine='auto', 'forward' or 'higher'"
            )
        if reached:
            self.mark(tensor)
            return False
        setattr(tensor, MARK, (self.number, tensor._version))
        return True

    def reaches_contact(self, tensor: Tensor) -> bool:
        """Whether a contact is in the graph of ``tensor``."""
        return self._graph(tensor)[0]

    def _graph(self, tensor: Tensor) -> tuple[bool, set[str]]:
        """Whether a contact is reached, and the parameters that are reached past all contacts."""
        visits: set[Node] = set()
        queue, reached, leaves = [tensor.grad_fn], False, set[str]()
        while queue:
            node = queue.pop()
            if node is None or node in visits:
                continue
            visits.add(node)
            if node in self.nodes:
                reached = True
                continue
            if node.name() == "torch::autograd::AccumulateGrad":
                leaf = id(node.variable)  # type: ignore[attr-defined]
                leaves.update([self.names[leaf]] if leaf in self.names else [])
            queue.extend(parent for parent, _ in node.next_functions)
        return reached, leaves

    def mark_all(self, result: Any) -> None:
        """Every tensor of a function's result comes from the batch."""
        for tensor in _tensors(result):
            self.mark(tensor)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
