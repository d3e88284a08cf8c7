"""The part of a student through whose inner step the hypergradient goes."""

from __future__ import annotations

from collections.abc import Sequence

from metaweight.core.registry import did_you_mean
from metaweight.student.student import Student


def scope_of(student: Student, names: Sequence[str] | None) -> frozenset[str] | None:
    """The trainable parameters in the submodules ``names``, tied ones under the name that they go by.

    Raises KeyError for an unknown submodule, ValueError where none has a trainable parameter.
    """
    if names is None:
        return None
    if isinstance(names, str):
        raise TypeError(f"scope is a sequence of names, got the string {names!r}; write [{names!r}]")
    submodules = dict(student.module.named_modules())
    for name in names:
        if name not in submodules:
            raise KeyError(
                f"unknown submodule {name!r} in scope.{did_you_mean(name, filter(None, submodules))}"
            )
    named = student.parameters()
    if student.sharded is not None:
        held = set[str]().union(*map(student.sharded.inside, names))
        chosen = frozenset(held & named.keys())
    else:
        inside = {id(p) for name in names for p in submodules[name].parameters()}
        chosen = frozenset(name for name, p in named.items() if id(p) in inside)
    if not chosen:
        raise ValueError(f"scope {list(names)} holds no trainable parameter of the student")
    return chosen
