"""A grid file names the modules that register what it compares; workers import them as well."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from metaweight.comparison.grid_file import read_plan
from metaweight.comparison.workers import run_cells
from metaweight.core import plugins

PICTURES = """
import torch
from metaweight.data import ImageSet, datasets

@datasets.register("tiny-pictures")
def tiny_pictures(folder):
    images, labels = torch.arange(60 * 64).byte().view(60, 1, 8, 8), torch.arange(60) % 2
    return ImageSet("Tiny pictures", images, labels, images[:8], labels[:8], ("even", "odd"))
"""
GRID = """
arms = ["uniform"]
noises = ["none"]
seeds = [0]
imports = ["my_pictures"]

[run]
data = "tiny-pictures"
meta_size = 10
valid_size = 10
batch_size = 10
epochs = 1
warmup_epochs = 0
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a grid file and the module that it names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(plugins, "_asked", {})
    (tmp_path / "my_pictures.py").write_text(PICTURES)
    (tmp_path / "grid.toml").write_text(GRID)
    return tmp_path


def test_a_worker_has_the_data_set_of_a_module_that_the_file_names(here: Path) -> None:
    grid = read_plan(here / "grid.toml").grid
    (ended,) = run_cells(grid.cells(), here, jobs=2)
    assert ended.failure is None


def test_a_module_that_is_not_there_is_named(here: Path) -> None:
    (here / "grid.toml").write_text(GRID.replace("my_pictures", "gone"))
    with pytest.raises(ImportError, match="the module 'gone', named by --import, a grid file's imports"):
        read_plan(here / "grid.toml")
