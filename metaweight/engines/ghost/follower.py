"""Follows every torch call of a pass: what is the batch's, what a function of parameters, where they meet."""

from __future__ import annotations

import dataclasses
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten

from metaweight.core.randomness import RandomState
from metaweight.engines.checks import EngineError
from metaweight.engines.ghost.contacts import Contact, Outcome, out_of_place
from metaweight.engines.ghost.functions import FUNCTION_RULES, VALUELESS
from metaweight.engines.ghost.marks import MARK, Marks
from metaweight.engines.ghost.recurrent import SEQUENCE_RULES
from metaweight.engines.ghost.rows import layouts
from metaweight.engines.ghost.sources import Source

# they take only the shape or the type of their other argument
_OF_THE_KIND = frozenset({"type_as", "to", "view_as", "reshape_as"})


def _opened(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same code, of which every call inside is seen one by one."""
    assert isinstance(function, types.FunctionType)
    names = {**function.__globals__, "has_torch_function": lambda _tensors: False}
    return types.FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )


OPENED = {F.multi_head_attention_forward: _opened(F.multi_head_attention_forward)}


class Follower(TorchFunctionMode):
    """Keeps the contacts of a pass."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self.marks = Marks(names)
        self.contacts: list[Contact] = []
        self.deferred = False
        """Whether parameters were scaled by numbers of the batch, to meet it later."""
        self._seen: Counter[tuple[Any, ...]] = Counter()

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See ``TorchFunctionMode``."""
        kwargs = kwargs or {}
        name = function.__name__
        if name == "__get__":
            value = function(*args)
            if isinstance(value, Tensor) and vars(args[0]).get(MARK) == self.marks.number:
                self.marks.mark(value)
            return value
        if function in OPENED:
            with self:
                return OPENED[function](*args, **kwargs)
        if function is torch.autograd.grad:
            return function(*args, **kwargs)
        batch = parameters = False
        for value in _arguments(args, kwargs):
            if vars(value).get(MARK) == self.marks.number:
                batch = True
            elif value.requires_grad:
                if self.marks.of_parameters(value):
                    parameters = True
                else:
                    batch = True
        if not batch or name in _OF_THE_KIND or name.startswith("new_") or name.endswith("_like"):
            return function(*args, **kwargs)
        if parameters and torch.is_grad_enabled():
            return self._contact(function, name, args, kwargs)
        result = function(*args, **kwargs)
        if _in_place(name):
            self.marks.mark(args[0])
        self.marks.mark_all(result)
        return result

    def _contact(self, function: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        in_place = _in_place(name)
        call = function
        if in_place:
            call = Tensor.add if name == "add_" else out_of_place(function)
        leaves, spec = tree_flatten((args, dict(kwargs)))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        before = [t._version for t in tensors]
        state = None if call in FUNCTION_RULES else RandomState.of(tensors[0].device)
        frozen = [self._frozen(leaf, call in VALUELESS) for leaf in leaves]
        if in_place:  # what is about to be overwritten
            frozen[0] = _copied(frozen[0])
        result = call(*args, **kwargs)
        outputs = [t for t in tree_flatten(result)[0] if isinstance(t, Tensor) and t.requires_grad]
        if not self._has_units(outputs) and not any(map(self.marks.reaches_contact, outputs)):
            self.deferred = True
            return self._put(name, args[0], result) if in_place else result
        if call not in FUNCTION_RULES and before != [t._version for t in tensors]:
            raise EngineError(
                f"{name} changes an argument in place that engine 'ghost' needs as it was; use "
                "engine='auto', 'forward' or 'higher'"
            )
        if state is not None and _same(state, RandomState.of(tensors[0].device)):
            state = None
        kept = [leaf for leaf in frozen if isinstance(leaf, Tensor)]
        sources = [leaf for leaf in frozen if isinstance(leaf, Source)]
        site = (
            name,
            *(self.marks.names.get(s.key, "") if isinstance(s.key, int) else s.like.shape for s in sources),
        )
        self._seen[site] += 1
        device = tensors[0].device.type
        cast = (device, torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else None
        outcomes = [Outcome(edge_of(t), t.shape) for t in outputs]
        self.marks.nodes.update(outcome.edge.node for outcome in outcomes)
        self.marks.nodes.update(t.grad_fn for t in outputs if t.grad_fn is not None)
        versions = [t._version for t in kept]
        first = (outputs[0].detach(), outputs[0]._version) if call in SEQUENCE_RULES else None
        place = (*site, self._seen[site])
        self.contacts.append(Contact(call, frozen, spec, versions, outcomes, cast, state, place, first))
        self.marks.mark_all(result)
        return self._put(name, args[0], result) if in_place else result

    def _has_units(self, outputs: list[Tensor]) -> bool:
        return self.marks.units is None or any(layouts(t.shape, self.marks.units) for t in outputs)

    def _put(self, name: str, target: Tensor, value: Tensor) -> Tensor | None:
        target.copy_(value)
        if vars(value).get(MARK) == self.marks.number:
            self.marks.mark(target)
        return None if name == "__setitem__" else target

    def _frozen(self, leaf: Any, valueless: bool) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if self.marks.of_parameters(leaf):
            return source_of(leaf)
        return None if valueless else leaf.detach()


def source_of(tensor: Tensor) -> Source:
    """``tensor``, a function of parameters alone, as the source of a share."""
    if tensor.grad_fn is None:
        return Source(id(tensor), tensor.detach(), None, tensor._version)
    edge = get_gradient_edge(tensor)
    return Source((edge.node, edge.output_nr), tensor.detach(), edge, tensor._version)


def edge_of(output: Tensor) -> Any:
    """Where the gradient of a layer's output arrives, whatever is done to the output in place later on."""
    base = output._base
    # an in-place change of a view goes through its base and leaves the view's own node aside
    if (
        base is not None
        and base.requires_grad
        and base.numel() == output.numel()
        and base.is_contiguous()
        and output.is_contiguous()
    ):
        return get_gradient_edge(base)
    return get_gradient_edge(output)


def _copied(value: Any) -> Any:
    if isinstance(value, Source):
        return dataclasses.replace(value, like=value.like.clone(), version=0)
    return value.clone() if isinstance(value, Tensor) else value


def _in_place(name: str) -> bool:
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))


def _same(one: RandomState, other: RandomState) -> bool:
    cuda = one.cuda is None or other.cuda is None or torch.equal(one.cuda, other.cuda)
    return cuda and torch.equal(one.cpu, other.cpu)


def _arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    for value in args:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _arguments(tuple(value), {})
    for value in kwargs.values():
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _arguments(tuple(value), {})
