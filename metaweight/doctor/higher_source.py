"""Whether ``higher`` is as it was released: the engine that uses it copies what it finds."""

from __future__ import annotations

import csv
import hashlib
import importlib
import inspect
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from types import ModuleType
from typing import Any

from metaweight.core.records import Record

TESTED = "0.2.1"
"""The release that the engine ``higher``, and with it all others, is tested against."""
PARTS = ("higher.optim", "higher.patch", "higher.utils")


class HigherSource(Record, frozen=True):
    """Of the distribution ``higher``."""

    version: str | None
    """None: it is not installed as a distribution."""
    changed: tuple[str, ...]
    """Its files that are not as they were installed."""
    replaced: tuple[str, ...]
    """Its functions that are another project's in this process."""


def higher_here() -> HigherSource:
    """Looked up now; imports it."""
    try:
        installed: str | None = version("higher")
    except PackageNotFoundError:
        installed = None
    replaced = [name for part in PARTS for name in replaced_functions(importlib.import_module(part))]
    return HigherSource(installed, tuple(changed_files("higher")), tuple(replaced))


def changed_files(name: str) -> list[str]:
    """Source files of an installed distribution that are absent or have other bytes than its RECORD says.

    One that keeps no record, as one that is installed from a checkout, has none.
    """
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        return []
    changed = []
    # importlib.metadata.files leaves out what is absent, from Python 3.12 on
    for file, hashed, _ in csv.reader((installed.read_text("RECORD") or "").splitlines()):
        mode, _, value = hashed.partition("=")
        if not file.endswith(".py") or not value:
            continue
        path = Path(str(installed.locate_file(file)))
        if not path.is_file() or _digest(path, mode) != value:
            changed.append(file)
    return changed


def _digest(path: Path, mode: str) -> str:
    """As a RECORD spells it."""
    return urlsafe_b64encode(hashlib.new(mode, path.read_bytes()).digest()).decode().rstrip("=")


def replaced_functions(module: ModuleType) -> list[str]:
    """Public functions of a module, and methods of its public classes, whose code stands in no file of its
    package."""
    folder = Path(inspect.getfile(module)).resolve().parent
    return [name for name, code in _functions(module) if folder not in Path(code).resolve().parents]


def _functions(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Name -> the file of its code."""
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        if inspect.isfunction(value):
            yield f"{module.__name__}.{name}", _file(value)
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            methods = (one for one in vars(value).items() if inspect.isfunction(one[1]))
            yield from ((f"{module.__name__}.{name}.{method}", _file(code)) for method, code in methods)


def _file(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "" if code is None else str(code.co_filename)
