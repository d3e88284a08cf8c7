"""Where a module that nobody described has its last hidden states: what its last linear layer takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from metaweight.core.batch import Batch
from metaweight.core.submodules import DROPOUT
from metaweight.student import Student
from metaweight.student.losses import UnitLoss, cross_entropy


@dataclass(frozen=True)
class Call:
    """A submodule in a pass."""

    name: str
    part: nn.Module
    given: Tensor | None
    """Its first argument."""
    gave: Tensor


def described(module: nn.Module | Student, batch: Batch, loss: UnitLoss = cross_entropy) -> Student:
    """A student of ``module`` that the teacher looks into at ``last_hidden``; a Student stays as it is.

    In several processes it is what the first one finds.
    """
    if isinstance(module, Student):
        return module
    bare = Student(module, loss)
    found = last_hidden(bare, batch)
    return Student(module, loss, taps=bare.processes.from_first(lambda: found))


def last_hidden(student: Student, batch: Batch) -> tuple[str, ...]:
    """The submodule whose output goes into the linear layer that gives the outputs; () where none is found.

    Where something without a name lies between (``F.relu``), the last one before it.  What runs over time is
    passed over, for nobody says what of it is padding.
    """
    outputs = student.glance(batch).outputs  # the first pass of a student is several
    calls = calls_of(student, batch)
    heads = [at for at, call in enumerate(calls) if _gives(call, outputs)]
    if not heads:
        return ()
    head = calls[heads[-1]]
    times = Counter(call.name for call in calls)
    before = [call for call in calls[: heads[-1]] if times[call.name] == 1 and _hidden(call, batch)]
    direct = [call for call in before if head.given is not None and _same(call.gave, head.given)]
    return tuple(call.name for call in (direct or before)[-1:])


def calls_of(student: Student, batch: Batch) -> list[Call]:
    """The submodules that give a tensor, in the order in which a pass leaves them."""
    calls: list[Call] = []

    def noting(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def note(part: nn.Module, given: tuple[Any, ...], gave: Any) -> None:
            if isinstance(gave, Tensor):
                first = given[0] if given and isinstance(given[0], Tensor) else None
                calls.append(Call(name, part, first, gave))

        return note

    hooks = [
        part.register_forward_hook(noting(name)) for name, part in student.module.named_modules() if name
    ]
    try:
        student.glance(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _gives(call: Call, outputs: Tensor) -> bool:
    return isinstance(call.part, nn.Linear) and call.gave.shape == outputs.shape


def _hidden(call: Call, batch: Batch) -> bool:
    """Whether it gives features [U, D] or maps [U, C, H, W]."""
    if isinstance(call.part, DROPOUT):
        return False
    value = call.gave
    return value.is_floating_point() and value.dim() in (2, 4) and len(value) == len(batch)


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether they are one tensor, perhaps in another shape."""
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
