"""A copy of a student, made by ``higher``, that runs on any parameters with their graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import higher
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from metaweight.core.contracts import Batch, Forward
from metaweight.engines.checks import EngineError, first_line
from metaweight.student.moving import Buffers
from metaweight.student.student import Student
from metaweight.student.values import copied


def _without_abc(base: type) -> type:
    """higher's base class, which has ABC in front of Module: with classes that have it behind Module (PEFT's
    layers) Python finds no order of bases."""
    of_every_class = ("__dict__", "__weakref__", "__abstractmethods__", "_abc_impl")
    own = {name: value for name, value in vars(base).items() if name not in of_every_class}
    return type(base.__name__, (nn.Module,), own)


higher.patch._MonkeyPatchBase = _without_abc(higher.patch._MonkeyPatchBase)


class Copy:
    """The monkeypatched module, and where its tensors belong."""

    def __init__(self, student: Student, buffers: Buffers) -> None:
        self._student = student
        with _able():
            self.module: Any = higher.monkeypatch(
                student.module, copy_initial_weights=False, track_higher_grads=False
            )
        self._names = [name for name, _ in student.module.named_parameters()]
        self._frozen = {
            name: buffers[name] if name in buffers else p.detach()
            for name, p in student.module.named_parameters()
            if not p.requires_grad
        }
        self._buffers = dict(buffers)
        for name, value in buffers.items():
            owner, _, key = name.rpartition(".")
            part = self.module.get_submodule(owner)
            if key in part._buffers:
                part._buffers[key] = value
        for part in self.module.modules():
            if isinstance(part, nn.ModuleList | nn.Sequential):
                _let_be_sliced(part)
            if isinstance(part, nn.RNNBase):  # else it would write into the original's list
                part.__dict__["_flat_weights"] = list(part._flat_weights)

    def stand_on(self, parameters: Mapping[str, Tensor]) -> None:
        """Run on these from now on; frozen parameters are the student's."""
        held = {**self._frozen, **parameters}
        self.module.update_params([held[name] for name in self._names])

    def run(self, batch: Batch) -> Forward:
        """A pass; a loss that reads the student's own parameters finds the copy's in their place."""
        held = dict(zip(self._names, self.module.fast_params, strict=True))
        own = {name: held[name] for name in self._student.parameters()}
        with _able():
            return self._student.standing_on(own, lambda: self._student(batch, module=self.module))

    def buffers(self) -> Buffers:
        """Clones of all that the copy's passes have moved."""
        named = dict(self.module.named_buffers())
        clones = Buffers({name: named.get(name, value) for name, value in self._buffers.items()})
        clones.elsewhere = {place: copied(place.get()) for place in self._student.moving.places}
        return clones

    def release(self) -> None:
        """Classes and instances of copies refer to each other: their graph would wait for the collector."""
        for part in self.module.modules():
            part.__dict__["_parameters"].clear()
            part.__dict__["_original_params"] = ()
            part.__dict__["_fast_params"] = None


@contextmanager
def _able() -> Iterator[None]:
    """Raise EngineError where ``higher`` cannot make a copy of the student, or the copy does not run."""
    try:
        yield
    except (TypeError, KeyError, AttributeError) as error:
        raise EngineError(
            f"higher's copy of the student does not run ({first_line(error)}): it may build classes of its "
            "submodules anew, read parameters other than as attributes, or have scripted parts; use "
            "engine='forward' or 'double'"
        ) from error


@contextmanager
def patched(student: Student, buffers: Buffers) -> Iterator[Copy]:
    """A copy that starts from ``buffers`` and moves these."""
    copy = Copy(student, buffers)
    try:
        yield copy
    finally:
        copy.release()


@contextmanager
def saving_hooks() -> Iterator[list[bool]]:
    """Gives a list that is filled where a pass inside puts hooks on what it saves, as a checkpoint does."""
    entered: list[bool] = []
    enter = saved_tensors_hooks.__enter__

    def noted(self: saved_tensors_hooks) -> None:
        entered.append(True)
        enter(self)

    saved_tensors_hooks.__enter__ = noted  # type: ignore[method-assign]
    try:
        yield entered
    finally:
        saved_tensors_hooks.__enter__ = enter  # type: ignore[method-assign]


def _let_be_sliced(container: nn.Module) -> None:
    """A slice of a copied container is an ordinary one: the copy's class cannot be built from a list."""
    kind = nn.ModuleList if isinstance(container, nn.ModuleList) else nn.Sequential
    copied_class: Any = type(container)
    own = copied_class.__getitem__

    def item(self: Any, index: Any) -> Any:
        if isinstance(index, slice):
            parts = list(self._modules.values())[index]
            return nn.ModuleList(parts) if kind is nn.ModuleList else nn.Sequential(*parts)
        return own(self, index)

    copied_class.__getitem__ = item
