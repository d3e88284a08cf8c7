"""A registry of named parts, with plug-ins found by entry point and a nearest name for typos."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from metaweight.core.plugins import import_named

T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'? Known: ...`` for an error message about an unknown name."""
    names = sorted(known)
    same = [other for other in names if other.casefold() == name.casefold()]
    near = same or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{hint} Known: {', '.join(names) or 'none'}."


class Registry(Generic[T]):
    """Names to parts of one kind.

    Names are lower-case with hyphens.  ``group`` is the entry-point group of plug-ins, which load at the
    first look-up, as do the modules that METAWEIGHT_IMPORT names.  Raises ValueError for a bad or taken name,
    KeyError for an unknown one, ImportError that names the distribution or module for one that does not load.
    """

    def __init__(self, kind: str, group: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self._parts: dict[str, T] = {}
        self._loaded = group is None

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files a part under ``name`` and returns it unchanged."""

        def file(part: T) -> T:
            self.add(name, part)
            return part

        return file

    def add(self, name: str, part: T, *, origin: str = "") -> None:
        """File ``part`` under ``name``; a name is given once."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"a {self.kind} name is lower-case words with hyphens, got {name!r}")
        if name in self._parts:
            if self._parts[name] is part:
                return
            by = f" (from {origin})" if origin else ""
            raise ValueError(f"{self.kind} {name!r} is already registered; choose another name{by}")
        self._parts[name] = part

    @contextmanager
    def temporarily(self, name: str, part: T) -> Iterator[T]:
        """``part`` filed under ``name`` until the context ends; a name that is taken is an error here too."""
        if name in self:
            raise ValueError(f"{self.kind} {name!r} is already registered; choose another name")
        self.add(name, part)
        try:
            yield part
        finally:
            del self._parts[name]

    def __getitem__(self, name: str) -> T:
        self._load_plugins()
        if name not in self._parts:
            raise KeyError(f"unknown {self.kind} {name!r}.{did_you_mean(str(name), self._parts)}")
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        self._load_plugins()
        return name in self._parts

    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        self._load_plugins()
        return tuple(self._parts)

    def _load_plugins(self) -> None:
        import_named()
        if self._loaded:
            return
        assert self.group is not None
        for point in entry_points(group=self.group):
            origin = point.dist.name if point.dist is not None else "an unknown distribution"
            try:
                part = point.load()
            except Exception as error:
                raise ImportError(
                    f"{self.kind} {point.name!r} of distribution {origin!r} fails to load: {error!r}; "
                    f"repair or uninstall {origin}"
                ) from error
            self.add(point.name, part, origin=origin)
        self._loaded = True  # only now: a broken plug-in stays an error at every look-up
