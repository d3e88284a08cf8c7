"""timm without torchvision: a stand-in for the names that timm imports of it, while timm is being imported.

timm imports torchvision for a class that it asks layers for (``FrozenBatchNorm2d``), for its loaders of
pictures and for feature extraction, none of which the models here use.  A torchvision that imports is used.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType

MODULES = (
    "torchvision",
    "torchvision.datasets",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
)
NOTE = "a stand-in for the names that timm imports of torchvision, which does not import here"


def import_timm() -> tuple[ModuleType, str]:
    """timm, and the version of the torchvision that it found, or ``NOTE``.

    Raises ModuleNotFoundError without timm.
    """
    try:
        found = str(importlib.import_module("torchvision").__version__)
    except Exception:  # one that was built for another torch raises what it likes
        found = NOTE
    if found != NOTE:
        return importlib.import_module("timm"), found
    with _standing_in():
        return importlib.import_module("timm"), found


class _Named(type):
    """Classes without instances whose attributes are their names: enough for tables of modes."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("_"):
            raise AttributeError(name)
        return name


class _StandIn(ModuleType):
    """A module in which every name is a class of its own."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("_"):
            raise AttributeError(name)
        made = _Named(name, (), {})
        setattr(self, name, made)
        return made


@contextmanager
def _standing_in() -> Iterator[None]:
    """The modules in ``sys.modules``, and out again: transformers, too, looks for torchvision there."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torchvision"}
    for name in before:
        del sys.modules[name]
    for name in MODULES:
        module = _StandIn(name)
        module.__path__ = []
        module.__spec__ = ModuleSpec(name, None, is_package=True)
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)
    try:
        yield
    finally:
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(before)
