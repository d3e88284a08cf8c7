"""What a train pass is made of, read off its autograd graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._C._autograd import SavedTensor
from torch.autograd.function import BackwardCFunction

from metaweight.engines.checks import REENTRANT, EngineError
from metaweight.student.student import Student

_INDICES = {
    "IndexBackward0": "_saved_indices",
    "IndexSelectBackward0": "_saved_index",
    "IndexAddBackward0": "_saved_index",
    "IndexPutBackward0": "_saved_indices",
    "IndexCopyBackward0": "_saved_index",
    "GatherBackward0": "_saved_index",
    "ScatterBackward0": "_saved_index",
    "ScatterAddBackward0": "_saved_index",
    "ScatterReduceBackward0": "_saved_index",
    "MaskedSelectBackward0": "_saved_mask",
    "SortBackward0": "_saved_indices",
    "TopkBackward0": "_saved_indices",
    "TakeBackward0": "_saved_index",
}
"""Operators that move rows by values -> where they keep these."""


_CONSTANTS = {
    "MulBackward0": ("_raw_saved_other", "_raw_saved_self"),
    "DivBackward0": ("_raw_saved_other",),
    "LerpBackward1": ("_raw_saved_weight",),
    "WhereBackward0": ("_raw_saved_condition",),
    "LerpBackward0": ("_saved_weight",),
    "AddBackward0": ("_saved_alpha",),
    "SubBackward0": ("_saved_alpha",),
    "AddcmulBackward0": ("_saved_value",),
    "AddcdivBackward0": ("_saved_value",),
}
"""Operators that a coefficient scales a term by -> where they keep it."""


_KNOWN = ("CheckpointFunction", "RegisterPostBackwardFunction", "CrossEntropyOfRows")
"""Functions that torch's own checkpoints and ``fully_shard`` put around parts, and that of a large loss."""


_CASTS = ("ToCopyBackward0", "AccumulateGrad")
"""Where a type of fewer digits than the loss has comes in."""


@dataclass(frozen=True)
class Graph:
    """The graph of a loss, as far as it matters for whether an engine's answer is right."""

    kind: int
    """A hash of the operators in it: which, and how many of each."""
    moves: int
    """A hash of the values by which rows of dimension 0 are moved; identity moves count as none."""
    functions: tuple[str, ...]
    """Names of custom autograd.Functions in it, ``_KNOWN`` ones left out."""
    reentrant: bool
    """Whether a part is checkpointed in the reentrant way."""
    weight_norm: bool
    """Whether torch's fused weight norm is in it, whose second derivative by the direction is wrong."""
    lowest: torch.dtype
    """The floating type of fewest digits in it."""
    numbers: tuple[float, ...]
    """Absolute values of the single numbers that terms are scaled by, in the order of the walk."""

    @staticmethod
    def of(loss: Tensor) -> Graph:
        """Walk the graph of ``loss``: about 0.3 microseconds a node."""
        counts: dict[type, int] = {}
        moves: list[int] = []
        functions: list[str] = []
        numbers: list[float] = []
        lowest = loss.dtype
        for node in nodes(loss):
            kind = type(node)
            if kind not in counts and issubclass(kind, BackwardCFunction):
                functions.append(kind.__name__.removesuffix("Backward"))
            counts[kind] = counts.get(kind, 0) + 1
            if (name := kind.__name__) in _INDICES:
                moves.extend(_moves(getattr(node, _INDICES[name])))
            elif name in _CONSTANTS:
                numbers.extend(_numbers(getattr(node, attribute) for attribute in _CONSTANTS[name]))
            elif name in _CASTS:
                lowest = min([lowest, *(given.dtype for given in node._input_metadata)], key=_digits)
        names = {kind.__name__: count for kind, count in counts.items()}
        return Graph(
            hash(frozenset(names.items())),
            hash(frozenset(moves)),
            tuple(name for name in functions if name not in _KNOWN),
            "CheckpointFunctionBackward" in names,
            "WeightNormInterfaceBackward0" in names,
            lowest,
            tuple(numbers),
        )


def checked_graph(loss: Tensor, steps: int) -> Graph:
    """The graph of a pass that is one of ``steps`` to be differentiated twice.

    Raises EngineError for what torch has no second derivative of, or a wrong one.
    """
    graph = Graph.of(loss)
    if graph.reentrant:
        raise EngineError(REENTRANT)
    if graph.weight_norm and steps > 1:
        raise EngineError(
            "torch's weight_norm has a wrong second derivative by its direction, which several inner steps "
            "need; take one step, or write the norm out"
        )
    return graph


def suspects(student: Student, loss: Tensor) -> list[str]:
    """Parts of a student that are known to make an engine wrong, for a message."""
    found = [f"the custom autograd.Function {name!r}" for name in Graph.of(loss).functions]
    hooked = [name for name, p in student.parameters().items() if p._backward_hooks]
    return [*found, *(f"the gradient hook on {name!r}" for name in hooked)]


def nodes(loss: Tensor) -> Iterator[Any]:
    """Each node of the graph of ``loss`` once."""
    visits: set[Any] = set()
    queue: list[Any] = [loss.grad_fn]
    while queue:
        node = queue.pop()
        if node is None or node in visits:
            continue
        visits.add(node)
        yield node
        queue.extend(parent for parent, _ in node.next_functions)


def _moves(indices: object) -> Iterator[int]:
    """A hash for each tensor of indices of dimension 0 that leaves not every row where it is."""
    index = indices[0] if isinstance(indices, tuple | list) and indices else indices
    if not isinstance(index, Tensor):
        return
    if index.dtype == torch.bool:
        if not bool(index.all()):
            yield hash(index.cpu().numpy().tobytes())
    elif index.dim() != 1 or not torch.equal(index, torch.arange(len(index), device=index.device)):
        yield hash(index.cpu().numpy().tobytes())


def _numbers(saved: Iterable[object]) -> Iterator[float]:
    """The single numbers among what an operator has saved, also one that is spread over a shape."""
    for value in saved:
        if isinstance(value, SavedTensor):
            # as it lies there: to unpack it would run a checkpointed part again; older torch does not show it
            value = getattr(value, "data", None)
        if isinstance(value, int | float):
            yield abs(float(value))
        elif isinstance(value, Tensor) and _is_single(value):
            yield float(abs(value.detach()[(0,) * value.dim()].item()))


def _is_single(value: Tensor) -> bool:
    if value.numel() == 1:
        return True
    plain = value.layout == torch.strided and not value.is_nested
    return plain and value.numel() > 0 and not any(value.stride())


def _digits(dtype: torch.dtype) -> float:
    real = dtype.to_real()
    return -torch.finfo(real).eps if real.is_floating_point else 0.0
