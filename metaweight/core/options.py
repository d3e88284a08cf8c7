"""Options of a part, a run or a table by name and type, and how the command line spells them."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from metaweight.core.registry import did_you_mean

Options = Mapping[str, Any]
"""Option -> value."""
LARGEST = 2**53
"""Of the whole numbers that an option may be: a float holds each up to it."""


def options_of(part: Callable[..., object], *, beside: Iterable[str] = ()) -> dict[str, Any]:
    """Option -> default of what builds a part; ``beside``: the arguments that are no options."""
    parameters = _signature(part).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in beside}


def require_options(owner: str, chosen: Iterable[str], known: Iterable[str]) -> None:
    """Raise TypeError, with the nearest name, where ``owner`` ("a run") does not have a chosen option."""
    known = set(known)
    for option in chosen:
        if option not in known:
            raise TypeError(f"{owner} has no option {option!r}.{did_you_mean(option, known)}")


def checked_options(
    owner: str, part: Callable[..., object], chosen: Options, *, beside: Iterable[str] = ()
) -> dict[str, Any]:
    """``chosen`` as ``part`` is called with them: a list is a tuple and an int a float where one is wanted.

    Raises TypeError, in words that begin with or name ``owner`` ("teacher 'mlp'"), for an option that it does
    not have, with the nearest one, and for a value of another type than its annotation says.
    """
    require_options(owner, chosen, options_of(part, beside=beside))
    hints = _hints(part) if chosen else {}
    return {name: converted(owner, name, value, hints.get(name, Any)) for name, value in chosen.items()}


def converted(owner: str, name: str, value: object, hint: Any) -> Any:
    """The ``value`` of an option as ``hint`` wants it.  Raises TypeError as ``checked_options``."""
    import msgspec  # only where there is something to check: not for ``import metaweight``

    require_countable(owner, {name: value})
    try:
        return msgspec.convert(value, hint)  # strict: "3" is no int, 1 no bool, 2.0 no int
    except msgspec.ValidationError:
        message = f"option {name} of {owner} is {spelt(hint)}, got {value!r}"
        if isinstance(value, str) and get_origin(hint) is not Literal:
            message += "; on a command line values are JSON: true, null for None, [1, 2] for several"
        raise TypeError(message) from None


def require_countable(owner: str, options: Options) -> None:
    """Raise ValueError for a whole number that is larger than any count: libraries overflow on it unnamed."""
    for name, value in options.items():
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError(f"option {name} of {owner} is at most {LARGEST:,}, got {str(value)[:30]}...")


# both read the source's annotations anew at each call, which a grid of hundreds of runs would feel
_signature = functools.cache(inspect.signature)


@functools.cache
def _hints(part: Callable[..., object]) -> dict[str, Any]:
    if isinstance(part, functools.partial):
        return _hints(part.func)
    # the fields of a dataclass may come from several modules, the arguments of any other class from one
    annotated: Any = part
    if isinstance(part, type) and not is_dataclass(part):
        annotated = part.__new__ if "__new__" in vars(part) else part.__init__  # type: ignore[misc]
    try:
        return get_type_hints(annotated)
    except NameError as error:
        raise TypeError(f"{part} is annotated with what is not imported when it runs: {error}") from error


def spelt(hint: Any) -> str:
    """A type as its source spells it: ``int | None``, ``bool | 'class'``, ``tuple[str, ...]``."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return " | ".join(map(spelt, parts))
    if kind is Literal:
        return " | ".join(map(repr, parts))
    if hint in (None, type(None), ...):
        return "..." if hint is ... else "None"
    name: str = (kind or hint).__name__
    return f"{name}[{', '.join(map(spelt, parts))}]" if parts else name


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """``("width=64", "norm=batch")`` -> ``{"width": 64, "norm": "batch"}``: values are JSON, or else text.

    Raises ValueError for a pair without "=".
    """
    options = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"an option is written key=value, got {pair!r}")
        options[key] = _value(text)
    return options


def spelt_options(options: Options) -> list[str]:
    """What ``parse_options`` reads as ``options``."""
    return [f"{key}={v if v == _value(str(v)) else json.dumps(v)}" for key, v in options.items()]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
