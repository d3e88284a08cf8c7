"""A call in which a function of parameters alone meets the batch, by whatever torch function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from metaweight.core.randomness import RandomState, differentiable, forked_rng
from metaweight.engines.checks import double_backward
from metaweight.engines.ghost.functions import FUNCTION_RULES
from metaweight.engines.ghost.low_rank import Direction, LowRank, dense
from metaweight.engines.ghost.output import FunctionRule, NoRuleError, Output
from metaweight.engines.ghost.recurrent import SEQUENCE_RULES
from metaweight.engines.ghost.rows import Rows
from metaweight.engines.ghost.shares import ConvWeight, LinearWeight, Share
from metaweight.engines.ghost.sources import Key, Source


@dataclass(frozen=True)
class Outcome:
    """Where the gradient of one output of a call will pass."""

    edge: GradientEdge
    shape: torch.Size


@dataclass(frozen=True)
class Delta:
    """The gradient of the summed losses in one output, and how the units' rows lie in it."""

    value: Tensor
    layout: str
    units: int


class Part(Protocol):
    """What a call gives to the gradients of its sources."""

    @property
    def sources(self) -> Sequence[Source]:
        """What it is about."""
        ...

    def gradients(self, scale: Tensor) -> Iterable[tuple[Source, Tensor]]:
        """sum_i scale_i grad loss_i for each source."""
        ...

    def slopes(self, directions: Mapping[Key, Direction]) -> Tensor:
        """sum over the sources of <direction, grad loss_i>, for each unit [U]."""
        ...


class Single:
    """A part that is the share of one source."""

    def __init__(self, source: Source, share: Share) -> None:
        self.sources, self.share = (source,), share

    def gradients(self, scale: Tensor) -> Iterator[tuple[Source, Tensor]]:
        """See ``Part``."""
        yield self.sources[0], self.share.gradient(scale)

    def slopes(self, directions: Mapping[Key, Direction]) -> Tensor:
        """See ``Part``."""
        direction = directions[self.sources[0].key]
        if isinstance(direction, LowRank) and self.thin:
            return self.thin.along(direction)
        return self.share.slopes(dense(direction))

    @property
    def thin(self) -> LinearWeight | ConvWeight | None:
        """The share, where slopes along a direction of low rank cost less."""
        share = self.share
        return share if isinstance(share, LinearWeight | ConvWeight) and share.products else None


@dataclass(frozen=True)
class Contact:
    """One call of ``function``, to be made again on its arguments; holds them."""

    function: Callable[..., Any]
    leaves: Sequence[Any]
    """Flat arguments: a ``Source`` for each function of parameters, other tensors detached."""
    spec: TreeSpec
    versions: Sequence[int]
    """Of the leaves that are tensors of the batch."""
    outcomes: Sequence[Outcome]
    autocast: tuple[str, torch.dtype] | None
    random: RandomState | None
    """The generators before the call, where it drew from them."""
    site: tuple[Any, ...]
    first: tuple[Tensor, int] | None = None
    """Its first output and the version of that, of a function that gives several and has a rule."""

    @property
    def sources(self) -> list[Source]:
        """The functions of parameters among the arguments."""
        return [leaf for leaf in self.leaves if isinstance(leaf, Source)]

    @property
    def intact(self) -> bool:
        """Whether nobody has changed an argument in place since."""
        tensors = (leaf for leaf in self.leaves if isinstance(leaf, Tensor))
        unchanged = all(t._version == v for t, v in zip(tensors, self.versions, strict=True))
        return unchanged and all(source.intact for source in self.sources)

    def parts(self, deltas: Sequence[Delta | None]) -> Iterator[Part]:
        """What it gives, from the gradients of its outputs."""
        try:
            found = list(self._by_rule(deltas))
        except NoRuleError:
            yield Replayed(self, deltas)
        else:
            yield from found

    def _by_rule(self, deltas: Sequence[Delta | None]) -> Iterator[Part]:
        outputs = [None if d is None else Output(d.value, d.layout, d.units) for d in deltas]
        rule, seen = self._rule(outputs)
        args, kwargs = tree_unflatten(list(self.leaves), self.spec)
        try:
            bound = _signature(rule).bind(*seen, *args, **kwargs)
        except TypeError as error:  # an option that the rule does not know
            raise NoRuleError from error
        for source, share in rule(*bound.args, **bound.kwargs):
            yield Single(source, share())

    def _rule(self, outputs: Sequence[Output | None]) -> tuple[FunctionRule, tuple[Any, ...]]:
        """The function's rule, and what it sees before the function's own arguments."""
        if (several := SEQUENCE_RULES.get(self.function)) is not None:
            if self.autocast is not None or self.random is not None:
                raise NoRuleError
            made = (
                self.first[0] if self.first is not None and self.first[0]._version == self.first[1] else None
            )
            return several, (made, outputs)
        rule = FUNCTION_RULES.get(self.function)
        tensors = [leaf.like if isinstance(leaf, Source) else leaf for leaf in self.leaves]
        if rule is None or any(isinstance(t, Tensor) and t.is_complex() for t in tensors):
            raise NoRuleError
        (output,) = outputs
        assert output is not None
        return rule, (output,)

    def again(self) -> tuple[list[Tensor], list[Tensor]]:
        """(leaves in place of the sources, the outputs with a graph to them)."""
        fresh = [s.like.detach().requires_grad_() for s in self.sources]
        values = iter(fresh)
        leaves = [next(values) if isinstance(leaf, Source) else leaf for leaf in self.leaves]
        args, kwargs = tree_unflatten(leaves, self.spec)
        device = fresh[0].device
        cast = nullcontext() if self.autocast is None else torch.autocast(*self.autocast, cache_enabled=False)
        with torch.enable_grad(), cast, differentiable(), forked_rng(device):
            if self.random is not None:
                self.random.restore(device)
            result = self.function(*args, **kwargs)
        return fresh, [t for t in tree_flatten(result)[0] if isinstance(t, Tensor) and t.requires_grad]


class Replayed:
    """A part by automatic differentiation of the one call, made again: no rule is needed.

    Its vector-Jacobian product is linear in the gradients that it is given, so the derivative of
    <product, u> by the units' scales is their slopes.
    """

    def __init__(self, contact: Contact, deltas: Sequence[Delta | None]) -> None:
        self.sources = contact.sources
        self._leaves, outputs = contact.again()
        pairs = zip(outputs, deltas, strict=True)
        self._outputs = [(output, delta) for output, delta in pairs if delta is not None]

    def gradients(self, scale: Tensor) -> Iterator[tuple[Source, Tensor]]:
        """See ``Part``."""
        products = self._products(scale, create_graph=False)
        for source, product in zip(self.sources, products, strict=True):
            if product is not None:
                yield source, product

    def slopes(self, directions: Mapping[Key, Direction]) -> Tensor:
        """See ``Part``."""
        _, delta = self._outputs[0]
        kind = delta.value.real.dtype if delta.value.is_complex() else delta.value.dtype
        with torch.enable_grad(), double_backward():
            scale = torch.ones(delta.units, dtype=kind, device=delta.value.device).requires_grad_()
            products = self._products(scale, create_graph=True)
            moving = [
                (product, dense(directions[source.key]).to(product.dtype))
                for source, product in zip(self.sources, products, strict=True)
                if product is not None and source.key in directions
            ]
            if not moving:
                return scale.detach() * 0
            (slopes,) = torch.autograd.grad(
                [product for product, _ in moving], scale, [u for _, u in moving], retain_graph=True
            )
        return slopes

    def _products(self, scale: Tensor, *, create_graph: bool) -> tuple[Tensor | None, ...]:
        rows = [
            Rows.of(delta.layout, delta.value.shape, delta.units).scaled(delta.value, scale)
            for _, delta in self._outputs
        ]
        return torch.autograd.grad(
            [output for output, _ in self._outputs],
            self._leaves,
            rows,
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
        )


@functools.cache
def _signature(rule: FunctionRule) -> inspect.Signature:
    return inspect.signature(rule)


def out_of_place(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """What an in-place function would leave in its first argument, as a tensor of its own."""

    def call(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        copy = self.clone()
        function(copy, *args, **kwargs)
        return copy

    return call
