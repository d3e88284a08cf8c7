"""Blocks of a student that keep only what goes in, and are run again when they are differentiated.

A graph that is differentiated twice holds about four passes.  With blocks it holds what goes into each of
them and what comes back, and the graph of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from metaweight.influence.again import Call, Kept
from metaweight.influence.norms import Observed

STACKS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
COVERED = 0.8
"""Of a block's parameters, in smaller blocks inside of it, from which on those are taken."""
LEAST = 4
"""Layers in a row that make a block."""


@dataclass(frozen=True)
class Block:
    """One part of a module, or some in a row: what is called where ``holder`` is."""

    holder: nn.Module
    parts: tuple[nn.Module, ...]

    def modules(self) -> Iterator[nn.Module]:
        """All below it."""
        for part in self.parts:
            yield from part.modules()

    def size(self) -> int:
        """Numbers in its parameters."""
        return sum(p.numel() for part in self.parts for p in part.parameters())


def blocks_of(module: nn.Module) -> list[Block]:
    """The blocks of the stacks in ``module``, none inside of another; empty where there are not two.

    Elements of a list or sequence of modules, or, where an element is little more than stacks of its own,
    those of these; layers in a sequence some at a time.
    """
    found = _below(module)
    return found if len(found) > 1 else []


def _below(module: nn.Module) -> list[Block]:
    if type(module) is nn.Sequential and not any(any(part.children()) for part in module):
        return _in_a_row(module)
    found = []
    for part in module.children():
        inner, whole = _below(part), Block(part, (part,))
        size = whole.size()
        element = isinstance(module, STACKS) and any(part.children()) and size > 0
        covered = len(inner) > 1 and sum(block.size() for block in inner) >= COVERED * size
        found += [whole] if element and not covered else inner
    return [block for block in found if "forward" not in vars(block.holder)]


def _in_a_row(sequence: nn.Sequential) -> list[Block]:
    parts = list(sequence)
    if not any(True for _ in sequence.parameters()):
        return []
    each = max(LEAST, isqrt(len(parts)))
    groups = [tuple(parts[first : first + each]) for first in range(0, len(parts), each)]
    return [Block(sequence, group) for group in groups]


@contextmanager
def kept_at_edges(
    blocks: Sequence[Block], observed: Observed, device: torch.device, check: Callable[[Tensor], None]
) -> Iterator[None]:
    """Passes inside keep of ``blocks`` only what goes in.  Their norms' statistics are noted in ``observed``.

    ``check``: called with what a block gives, when it is differentiated twice.  Such a pass may raise
    NotInPartsError or what torch raises; whether it was the right one its gradient tells.
    """
    holders: dict[nn.Module, list[Kept]] = {}
    for block in blocks:
        norms = _norms_in(block, observed.norms)
        observed.elsewhere.update(norms)
        whole = len(block.parts) == 1 and block.parts[0] is block.holder
        body = block.holder.forward if whole else partial(_one_by_one, block.parts)
        kept = Kept(body, tuple(block.modules()), norms, device, check)
        holders.setdefault(block.holder, []).append(kept)
    for holder, calls in holders.items():
        holder.forward = partial(_called, calls, observed)
    try:
        yield
    finally:
        for holder in holders:
            del holder.forward


def _norms_in(block: Block, norms: Mapping[str, _BatchNorm]) -> dict[str, _BatchNorm]:
    inside = set(block.modules())
    return {name: layer for name, layer in norms.items() if layer in inside}


def _one_by_one(parts: Sequence[nn.Module], x: Any) -> Any:
    for part in parts:
        x = part(x)
    return x


def _called(calls: Sequence[Kept], observed: Observed, *args: Any, **kwargs: Any) -> Any:
    """A holder's call: each of its blocks on what the one before gave."""
    for kept in calls:
        given = Call(kept).run(args, kwargs, observed)
        args, kwargs = (given,), {}
    return args[0]
