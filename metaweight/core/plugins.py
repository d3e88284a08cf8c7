"""Modules with parts of the user's own, imported because the command line names them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

_imported: list[str] = []


def import_plugins(modules: Iterable[str]) -> None:
    """Import modules, of the working directory too, that register their parts.  Raises ImportError."""
    here = str(Path.cwd())
    for module in modules:
        if here not in sys.path:
            sys.path.append(here)  # last: a file here must not stand in for an installed package
        importlib.import_module(module)
        _imported.append(module)


def imported_plugins() -> tuple[str, ...]:
    """What ``import_plugins`` imported, for another process to do the same."""
    return tuple(_imported)
