"""Modules that register parts of their own, named by ``--import`` or METAWEIGHT_IMPORT."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable

VARIABLE = "METAWEIGHT_IMPORT"


def import_modules(names: Iterable[str]) -> None:
    """Import modules that register parts, here and in every process that is started from here.

    They are found where Python finds packages and in the working directory.  Raises ImportError that names
    the one that fails to load.
    """
    os.environ[VARIABLE] = ",".join(dict.fromkeys([*_named(), *names]))
    import_named()


def import_named() -> None:
    """Import the modules that METAWEIGHT_IMPORT names, separated by commas, if that has not been done.

    Raises ImportError as ``import_modules`` does.
    """
    for name in _named():
        if name in sys.modules:
            continue
        if (here := os.getcwd()) not in sys.path:
            sys.path.append(here)  # last: a file that lies here hides no package
        try:
            importlib.import_module(name)
        except Exception as error:
            raise ImportError(
                f"the module {name!r} that --import or {VARIABLE} names fails to load: {error!r}; "
                "it is a module of an installed package or of the working directory"
            ) from error


def _named() -> list[str]:
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
