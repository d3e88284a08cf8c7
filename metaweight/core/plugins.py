"""Modules that register parts of their own, named by ``--import``, a grid file or METAWEIGHT_IMPORT."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

VARIABLE = "METAWEIGHT_IMPORT"
_asked: dict[str, None] = {}


def import_modules(names: Iterable[str]) -> None:
    """Import modules that register parts; a worker process of this one is to do the same.

    They are found where Python finds packages and in the working directory; a name that ends in ``.py`` is a
    file.  Raises ImportError that names the one that fails to load.
    """
    for name in names:
        _import(name)
        _asked[name] = None


def imported_modules() -> tuple[str, ...]:
    """What ``import_modules`` imported in this process, for a worker to import."""
    return tuple(_asked)


def import_named() -> None:
    """Import the modules that METAWEIGHT_IMPORT names, separated by commas.  Raises as ``import_modules``."""
    for name in os.environ.get(VARIABLE, "").split(","):
        if name.strip():
            _import(name.strip())


def _import(name: str) -> None:
    if name.endswith(".py"):
        _import_file(Path(name).expanduser())
        return
    if name in sys.modules:
        return
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)  # last: a file that lies here hides no package
    try:
        importlib.import_module(name)
    except Exception as error:
        raise ImportError(
            f"the module {name!r} that --import or {VARIABLE} names fails to load: {error!r}; "
            "it is a module of an installed package or of the working directory"
        ) from error


def _import_file(path: Path) -> None:
    """Run a file as the module of its name; once, however often it is asked for."""
    there = sys.modules.get(path.stem)
    if there is not None and Path(getattr(there, "__file__", None) or "").resolve() == path.resolve():
        return
    spec = spec_from_file_location(path.stem, path)
    if there is not None or spec is None or spec.loader is None or not path.is_file():
        why = "there is no such file" if not path.is_file() else f"a module {path.stem!r} is loaded already"
        raise ImportError(f"the file {str(path)!r} that --import or {VARIABLE} names fails to load: {why}")
    sys.modules[path.stem] = module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[path.stem]
        raise ImportError(
            f"the file {str(path)!r} that --import or {VARIABLE} names fails to load: {error!r}"
        ) from error
