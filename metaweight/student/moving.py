"""What a pass moves besides trainable parameters: buffers, frozen parameters, and state kept elsewhere.

A virtual pass works on copies of it, so that one training batch moves the live student's once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from metaweight.core.contracts import MetaweightError
from metaweight.core.submodules import named_tensors, submodules
from metaweight.student.buffers import put_buffers
from metaweight.student.loss_state import Owner, owners_of
from metaweight.student.values import (
    ABSENT,
    MUTABLE,
    copied,
    fingerprint,
    refilled,
    same,
    shallow,
)

KEPT_BY_TORCH = frozenset({*vars(nn.Module()), "_flat_weights", "_flat_weight_refs"})
"""Attributes of modules that torch itself keeps up to date; the last two of recurrent layers."""
ADVICE = "what a pass moves belongs in a buffer (register_buffer)"


@dataclass(frozen=True, eq=False)
class Place:
    """An entry of an object's attributes, of a loss's buffers or of a function's closure."""

    owner: Owner
    key: str
    where: str
    """For people."""

    def __hash__(self) -> int:
        return hash((id(self.owner), self.key))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and self.owner is other.owner and self.key == other.key

    def get(self) -> Any:
        """The value; a token of its own where there is none."""
        return self.owner.get(self.key, ABSENT)

    def put(self, value: Any) -> None:
        """Make ``value`` the live one."""
        if value is ABSENT:
            self.owner.pop(self.key, None)
        else:
            self.owner[self.key] = value


class Buffers(dict[str, Tensor]):
    """Clones of what passes move: name -> buffer or frozen parameter; ``elsewhere``: place -> value."""

    def __init__(self, named: Mapping[str, Tensor]) -> None:
        super().__init__({name: value.detach().clone() for name, value in named.items()})
        elsewhere = named.elsewhere if isinstance(named, Buffers) else {}
        self.elsewhere: dict[Place, Any] = {place: copied(value) for place, value in elsewhere.items()}

    def shared_with(self, before: Mapping[str, Tensor]) -> Buffers:
        """The same, with the tensors of ``before`` where these are equal: what stays takes no memory."""
        shared = Buffers({})
        shared.update((n, before[n] if torch.equal(b, before[n]) else b) for n, b in self.items())
        shared.elsewhere = self.elsewhere
        return shared


class Moving:
    """Learns by watching what the passes of a module and its loss move."""

    def __init__(self, module: nn.Module, loss: object) -> None:
        self._module = module
        self._loss: object = None
        self._of_loss: list[tuple[str, Owner]] = []
        self.watched: set[tuple[bool, ...]] = set()
        """The training modes of the passes that were watched with copies at hand."""
        self.follow(loss)
        self.frozen: set[str] = set()
        """Names of frozen parameters that passes move in place."""
        self.trainable: set[str] = set()
        """Names of trainable ones."""
        self.places: dict[Place, None] = {}

    @property
    def parts(self) -> list[tuple[str, nn.Module]]:
        """The submodules by name."""
        return submodules(self._module)

    def parameters(self) -> dict[str, nn.Parameter]:
        """As ``named_parameters``."""
        return named_tensors((name, part._parameters) for name, part in self.parts)

    def follow(self, loss: object) -> None:
        """Watch another loss from now on."""
        if loss is not self._loss:
            self._loss, self.watched = loss, set()
            self._of_loss = list(owners_of(loss, "the loss's "))

    def buffers(self) -> Buffers:
        """Clones of all that is known to move."""
        named = named_tensors((name, part._buffers) for name, part in self.parts)
        named |= {name: self._module.get_parameter(name) for name in self.frozen}
        clones = Buffers(named)
        clones.elsewhere = {place: copied(place.get()) for place in self.places}
        return clones

    def complete(self, buffers: dict[str, Tensor]) -> None:
        """Add clones of what has become known to move since ``buffers`` were cloned."""
        for name in self.frozen - buffers.keys():
            buffers[name] = self._module.get_parameter(name).detach().clone()

    @torch.no_grad()
    def put(self, buffers: Mapping[str, Tensor]) -> None:
        """Make what ``buffers`` holds live."""
        put_buffers(self._module, buffers)
        for name in self.frozen & buffers.keys():
            self._module.get_parameter(name).copy_(buffers[name])
        for place, value in (buffers.elsewhere if isinstance(buffers, Buffers) else {}).items():
            place.put(copied(value))

    @contextmanager
    def visited(self, buffers: Mapping[str, Tensor]) -> Iterator[None]:
        """A virtual pass inside starts from the entries of ``buffers`` and leaves them where it ends.

        What is live is as before then.  Raises MetaweightError where the pass has moved what no pass moved
        before and what cannot be put back.
        """
        elsewhere = buffers.elsewhere if isinstance(buffers, Buffers) else {}
        live = {place: place.get() for place in self.places}
        for place, value in live.items():
            # a place may have become known since ``buffers`` were cloned
            place.put(elsewhere[place] if place in elsewhere else copied(value))
        before = _Look(self)
        try:
            yield
        finally:
            for place, value in live.items():
                if isinstance(buffers, Buffers):
                    buffers.elsewhere[place] = place.get()
                place.put(value)
            before.compare(self)

    def learn(self, run: Callable[[], object]) -> None:
        """Watch ``run()``, a pass without a graph, and put back all that it moves; once in each mode."""
        modes = tuple(part.training for _, part in self.parts)
        if modes in self.watched:
            return
        live = {place: place.get() for place in self.places}
        for place, value in live.items():
            place.put(copied(value))
        before = _Look(self, copies=True)
        try:
            run()
        finally:
            before.compare(self)
            for place, value in live.items():
                place.put(value)
        self.watched.add(modes)

    def owners(self) -> Iterator[tuple[str, Owner]]:
        """Whatever holds state beside buffers and parameters, with its name for people."""
        for name, part in self.parts:
            yield f"{name}." if name else "", vars(part)
        yield from self._of_loss

    def numbers(self) -> int:
        """A hash of the numbers and words that module and loss hold and that no pass moves."""
        moved = {(id(place.owner), place.key) for place in self.places}
        return hash(
            tuple(
                (key, value)
                for _, owner in self.owners()
                for key, value in owner.items()
                if type(value) in (bool, int, float, str) and (id(owner), key) not in moved
            )
        )


class _Look:
    """What was there before a pass: identities and counts of in-place changes, or copies."""

    def __init__(self, moving: Moving, *, copies: bool = False) -> None:
        self._copies = copies
        self._parameters: list[tuple[str, nn.Parameter, int, Tensor | None]] = [
            (name, p, p._version, p.detach().clone() if copies or name in moving.trainable else None)
            for name, p in moving.parameters().items()
            if name not in moving.frozen
        ]
        self._owners = [(where, own, list(own), list(own.values())) for where, own in moving.owners()]
        self._inside = [
            (
                Place(own, key, where + key),
                value,
                fingerprint(value),
                copied(value) if copies else shallow(value),
            )
            for where, own, keys, values in self._owners
            for key, value in zip(keys, values, strict=True)
            if key not in KEPT_BY_TORCH and isinstance(value, MUTABLE)
        ]

    def compare(self, moving: Moving) -> None:
        """Note what has moved, and put it back."""
        for name, p, version, clone in self._parameters:
            if p._version != version:
                if clone is None:
                    raise MetaweightError(f"a pass changes the parameter {name!r} in place; {ADVICE}")
                p.data.copy_(clone)
                (moving.trainable if p.requires_grad else moving.frozen).add(name)
        for place, value, print_, before in self._inside:
            if place in moving.places or place.get() is not value or fingerprint(value) == print_:
                continue
            moving.places[place] = None
            if not refilled(value, before) or not (self._copies or fingerprint(value) == print_):
                raise MetaweightError(f"a pass changes {place.where} in place, as none did before; {ADVICE}")
        for where, own, keys, values in self._owners:
            if len(own) == len(keys) and (
                all(map(is_, own.values(), values)) or all(map(same, own.values(), values))
            ):
                continue
            earlier = dict(zip(keys, values, strict=True))
            for key in {**earlier, **own}:
                place, old = Place(own, key, where + key), earlier.get(key, ABSENT)
                if place in moving.places or key in KEPT_BY_TORCH or same(place.get(), old):
                    continue
                moving.places[place] = None
                place.put(old)
