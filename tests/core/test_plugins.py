"""Modules that --import or METAWEIGHT_IMPORT names register their parts, in other processes too."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from metaweight.core.plugins import VARIABLE, import_modules
from metaweight.core.registry import Registry
from metaweight.data.text import load_text

PAIRS = """
from metaweight.data.text import Bitext, TextSet, texts

@texts.register("one-pair")
def one_pair(asked):
    empty = Bitext((), ())
    return TextSet("One pair", ("de", "en"), Bitext(("ja",), ("yes",)), empty, empty, empty)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(VARIABLE, "")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


def test_a_process_started_from_here_has_the_sets_of_a_named_module(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "my_pairs.py").write_text(PAIRS)
    monkeypatch.setenv(VARIABLE, "my_pairs")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        made = pool.submit(load_text, "one-pair").result()
    assert made.train.target == ("yes",)


def test_importing_names_the_modules_for_processes_to_come(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "first_module")
    for name in ("first_module", "second_module"):
        (here / f"{name}.py").touch()
    import_modules(["second_module", "first_module"])
    assert os.environ[VARIABLE] == "first_module,second_module"
    assert {"first_module", "second_module"} <= set(sys.modules)


def test_the_first_look_up_imports_what_the_variable_names(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "my_numbers.py").write_text("import this_registry\nthis_registry.numbers.add('one', 1)\n")
    numbers: Registry[int] = Registry("number")
    monkeypatch.setitem(sys.modules, "this_registry", type("Module", (), {"numbers": numbers}))
    monkeypatch.setenv(VARIABLE, " my_numbers, ")
    assert numbers.names() == ("one",)


def test_a_module_that_is_not_there_is_named(here: Path) -> None:
    with pytest.raises(ImportError, match=r"'gone' that --import or METAWEIGHT_IMPORT names fails to load"):
        import_modules(["gone"])


def test_a_module_that_fails_stays_an_error(here: Path) -> None:
    (here / "broken.py").write_text("1 / 0")
    for _ in range(2):
        with pytest.raises(ImportError, match=r"'broken' .*ZeroDivisionError"):
            import_modules(["broken"])
