"""A grid file names the modules that register what it compares."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from metaweight.comparison.grid_file import read_plan
from metaweight.core import plugins
from metaweight.data import datasets

PICTURES = """
from metaweight.data import datasets

@datasets.register("pictures-of-the-grid-file")
def pictures(folder): ...
"""
GRID = 'imports = ["my_pictures"]\narms = ["uniform"]\nnoises = ["none"]\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a grid file and the module that it names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(plugins, "_asked", {})
    (tmp_path / "my_pictures.py").write_text(PICTURES)
    (tmp_path / "grid.toml").write_text(GRID)
    return tmp_path


def test_a_grid_has_what_a_module_of_its_file_registers(here: Path) -> None:
    read_plan(here / "grid.toml")
    assert "pictures-of-the-grid-file" in datasets
    assert plugins.imported_modules() == ("my_pictures",)  # for the workers


def test_a_module_that_is_not_there_is_said_with_the_file(here: Path) -> None:
    (here / "grid.toml").write_text(GRID.replace("my_pictures", "gone"))
    with pytest.raises(ImportError, match=r"grid\.toml: .*'gone'.* fails to load"):
        read_plan(here / "grid.toml")
