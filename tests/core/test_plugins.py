"""Modules that register parts of their own, found in the working directory as well."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaweight.core import plugins
from metaweight.core.plugins import VARIABLE, import_modules, imported_modules
from metaweight.core.registry import Registry


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(plugins, "_asked", {})
    yield tmp_path
    for module in tmp_path.glob("*.py"):
        sys.modules.pop(module.stem, None)


def test_what_was_imported_is_named_for_the_workers(here: Path) -> None:
    for name in ("first_module", "second_module"):
        (here / f"{name}.py").touch()
    import_modules(["second_module", "first_module", "second_module"])
    assert imported_modules() == ("second_module", "first_module")


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
    assert not imported_modules()


def test_a_module_that_fails_stays_an_error(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "broken.py").write_text("1 / 0")
    monkeypatch.setenv(VARIABLE, "broken")
    for _ in range(2):
        with pytest.raises(ImportError, match=r"'broken' .*ZeroDivisionError"):
            _ = "one" in Registry("number")


def test_a_file_is_run_once_from_where_it_lies(here: Path) -> None:
    (here / "below").mkdir()
    file = here / "below" / "my_parts_of_a_file.py"
    file.write_text(
        "import sys\nsys.modules[__name__].runs = 1 + getattr(sys.modules[__name__], 'runs', 0)\n"
    )
    try:
        import_modules([str(file), str(file)])
        assert sys.modules["my_parts_of_a_file"].runs == 1
        assert imported_modules() == (str(file),)
    finally:
        sys.modules.pop("my_parts_of_a_file", None)
    with pytest.raises(ImportError, match="there is no such file"):
        import_modules([str(here / "gone.py")])
    (here / "json.py").touch()
    with pytest.raises(ImportError, match="a module 'json' is loaded already"):
        import_modules([str(here / "json.py")])
    file.write_text("1 / 0")
    with pytest.raises(ImportError, match="ZeroDivisionError"):
        import_modules([str(file)])
    assert "my_parts_of_a_file" not in sys.modules
