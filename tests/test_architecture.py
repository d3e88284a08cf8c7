"""The floors of the house: an import goes down a floor or stays inside its room, never up or sideways."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "metaweight"
# A room is a file or a folder right below metaweight/. Give a new one its floor here: the lowest that is
# above everything it imports.
FLOORS = {
    "atomic": 0,
    "contracts": 0,
    "devices": 0,
    "modes": 0,
    "registry": 0,
    "replay": 0,
    "losses": 1,
    "execution": 1,
    "pooling": 1,
    "config": 1,
    "learning_rate": 1,
    "student": 2,
    "translation": 3,
    "inner": 2,
    "data": 2,
    "models": 2,
    "metrics": 2,
    "engines": 3,
    "teachers": 3,
    "evaluation": 3,
    "reweighter": 4,
    "checkpoint": 4,
    "distributed": 4,
    "report": 4,
    "callbacks": 5,
    "trainer": 6,
    "progress": 6,
    "tasks": 7,
    "remedies": 8,
    "arms": 9,
    "cells": 10,
    "compare": 11,
    "page": 12,
    "tuning": 12,
    "grid_file": 13,
    "suite": 13,
    "commands": 14,
    "cli": 15,
}
LONGEST = 300
NAMELESS = {"utils", "helpers", "common", "util", "helper", "misc"}


def room_of(module: str) -> str:
    """``metaweight.engines.base`` -> ``engines``; the package itself -> ``__init__``."""
    return [*module.split("."), "__init__"][1]


def imports(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    """Dotted names of all modules that a module imports, wherever in the file, relative ones resolved.

    ``from a import b`` gives ``a.b``, for ``b`` may be a module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -(node.level - is_package) or None] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def at_import(tree: ast.AST) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported: those outside functions and TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.stmt):
            yield node
        yield from at_import(node)


def breaches(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What is wrong with the imports of one module of the package, in words."""
    tree, room, found = ast.parse(source), room_of(module), []
    if room != "__init__" and room not in FLOORS:
        return [f"room {room!r} has no floor: give it one in FLOORS of tests/test_architecture.py"]
    for name in imports(tree, module, is_package=is_package):
        top, _, rest = name.partition(".")
        target = room_of(name)
        if top in ("benchmarks", "tests"):
            found.append(f"{module} imports {name}: the package knows no {top}")
        elif top != PACKAGE or room == "__init__" or target == room or rest == "__version__":
            continue
        elif target not in FLOORS:
            found.append(f"{module} imports {name}: name the room, not the package's front door")
        elif FLOORS[target] >= FLOORS[room]:
            way = "up" if FLOORS[target] > FLOORS[room] else "sideways"
            found.append(f"{module} (floor {FLOORS[room]}) imports {way}: {name} (floor {FLOORS[target]})")
    for statement in at_import(tree):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            names = list(imports(statement, module, is_package=is_package))
            if any(name.split(".")[0] == "matplotlib" for name in names):
                found.append(f"{module} imports matplotlib outside a function")
    return found


def python_files(folder: str) -> list[Path]:
    """The Python files below a folder of the repository, by name."""
    return sorted((ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    """``metaweight/engines/__init__.py`` -> ``metaweight.engines``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


PACKAGE_FILES = python_files(PACKAGE)
HOUSE_FILES = PACKAGE_FILES + python_files("benchmarks")


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=names(PACKAGE_FILES))
def test_imports_go_down(path: Path) -> None:
    assert breaches(path.read_text(), module_name(path), is_package=path.name == "__init__.py") == []


@pytest.mark.parametrize("path", HOUSE_FILES, ids=names(HOUSE_FILES))
def test_file_is_short_and_named_by_a_noun(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST, f"split {path.name} by noun"
    assert path.stem not in NAMELESS, f"{path.name} says nothing: name it after what it holds"


def test_the_house_was_found() -> None:
    """Guards the tests above against an empty list of files."""
    assert {"metaweight/contracts.py", "metaweight/engines/forward.py"} <= set(names(PACKAGE_FILES))


@pytest.mark.parametrize(
    ("module", "line", "complaint"),
    [
        ("metaweight.losses", "from metaweight.student import Student", "up: metaweight.student.Student"),
        ("metaweight.losses", "from metaweight import student", "imports up: metaweight.student"),
        ("metaweight.losses", "import metaweight.student", "imports up"),
        ("metaweight.losses", "from .student import Student", "imports up"),
        ("metaweight.losses", "from . import student", "imports up"),
        ("metaweight.engines.base", "from ..trainer import Trainer", "imports up"),
        ("metaweight.engines.base", "from metaweight.teachers.base import Teacher", "imports sideways"),
        ("metaweight.registry", "from metaweight.contracts import Batch", "imports sideways"),
        ("metaweight.contracts", "def f():\n    from metaweight.teachers import names", "imports up"),
        ("metaweight.trainer", "import metaweight as mw", "front door"),
        ("metaweight.trainer", "from metaweight import Student", "front door"),
        ("metaweight.cli", "from benchmarks.image import run", "knows no benchmarks"),
        ("metaweight.cli", "import tests.oracles", "knows no tests"),
        ("metaweight.attic", "import torch", "'attic' has no floor"),
        ("metaweight.report.plots", "import matplotlib.pyplot as plt", "outside a function"),
        ("metaweight.report.plots", "if a:\n    from matplotlib import figure", "outside a function"),
        ("metaweight.report.plots", "class A:\n    import matplotlib", "outside a function"),
    ],
)
def test_a_breach_is_seen(module: str, line: str, complaint: str) -> None:
    found = breaches(line, module)
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("metaweight.engines.base", "from metaweight.student import Student"),
        ("metaweight.engines.base", "from .forward import Forward"),
        ("metaweight.engines.base", "from ..student import Student"),
        ("metaweight.cli", "from metaweight import __version__, engines"),
        ("metaweight", "from metaweight.cli import main"),
        ("metaweight.losses", "import torch.student, metaweighted.student"),
        ("metaweight.report.plots", "def draw():\n    import matplotlib"),
        ("metaweight.report.plots", "if TYPE_CHECKING:\n    from matplotlib.figure import Figure"),
    ],
)
def test_what_is_allowed_passes(module: str, line: str) -> None:
    assert breaches(line, module) == []


def test_relative_imports_of_a_folder_start_at_the_folder() -> None:
    assert breaches("from .base import Engine", "metaweight.engines", is_package=True) == []
    assert breaches("from ..trainer import Trainer", "metaweight.engines", is_package=True) != []
