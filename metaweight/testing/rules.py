"""Rules that a part must keep: functions whose first line is what they ask, run one after another."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

S = TypeVar("S")


class ContractError(AssertionError):
    """A part breaks a rule of its contract: the message says which, what was got and what to do."""

    def __init__(self, message: str, rule: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        """The name of the rule."""


def require(holds: bool, got: str) -> None:
    """Raise ContractError unless it ``holds``; ``got``: what was got instead, and what to do."""
    if not holds:
        raise ContractError(got)


def require_all(who: str, subject: S, rules: Iterable[Callable[[S], None]]) -> None:
    """Raise ContractError for the first of ``rules`` that ``subject`` breaks or fails to get through."""
    for rule in rules:
        asked = inspect.getdoc(rule)
        assert asked is not None
        sentence = asked.splitlines()[0].rstrip(".")
        try:
            rule(subject)
        except Exception as error:
            own = isinstance(error, ContractError)
            got = str(error) if own else f"it raised {type(error).__name__}: {error}"
            raise ContractError(f"{who}: {sentence}; {got}", rule.__name__) from (None if own else error)


@contextmanager
def refused(kind: type[Exception], what: str, advice: str) -> Iterator[list[str]]:
    """Take an error of ``kind`` for an answer, kept in the list; ContractError where it has no words."""
    answer: list[str] = []
    try:
        yield answer
    except kind as error:
        require(len(str(error).split()) >= 4, f"it refuses {what} with {error!r}; {advice}")
        answer.append(str(error))


def clones(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that nobody else writes to."""
    return {name: value.detach().clone() for name, value in values.items()}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names under which two mappings of tensors do not hold the same, bit for bit."""
    return [
        name
        for name in {**before, **after}
        if name not in before or name not in after or not torch.equal(before[name], after[name])
    ]
