"""A run goes on with what it was started with, or says part by part what is another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_images
from tiny_translation import TRAIN, Files, flags, own, own_files, pairs, words, write

from metaweight.cli.main import main
from metaweight.tasks import run_manifest, tasks
from metaweight.tasks.config import ImageConfig, TranslationConfig
from metaweight.tasks.identity import other_options, other_versions, require_data, require_options

PLACE = Path("runs/a")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Files]:
    """A run on own files."""
    folder = tmp_path_factory.mktemp("own")
    files = own_files(folder)
    command = [*TRAIN, *flags(teacher="uniform", epochs=1), *own(files, "train", "meta", "valid", "test")]
    assert main([*command, "--out", str(folder / "run")]) == 0
    return folder / "run", files


@pytest.fixture
def copy(trained: tuple[Path, Files], tmp_path: Path) -> tuple[Path, Files]:
    """The same run and files, to be changed: the manifest names the copies."""
    run, files = trained
    shutil.copytree(run, tmp_path / "run")
    copies = {name: Path(shutil.copy(path, tmp_path)) for name, path in files.items()}
    edit(tmp_path / "run", lambda about: about["config"].update({k: str(v) for k, v in copies.items()}))
    return tmp_path / "run", copies


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest of a run by hand."""
    about = json.loads((run / "manifest.json").read_text())
    change(about)
    (run / "manifest.json").write_text(json.dumps(about))


def swapped(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [rows[1], rows[0], *rows[2:]]


@pytest.mark.parametrize(
    ("name", "rows", "told"),
    [
        ("train", swapped(pairs(0, 60)), "the training rows are not what"),
        ("meta", pairs(100, 116), "the trusted rows are not what"),
        ("valid", swapped(pairs(76, 84)), "the validation rows are not what"),
        ("test", pairs(100, 103), "the test rows are not what"),
    ],
)
def test_another_part_of_the_data_is_named_and_refused(
    name: str,
    rows: list[tuple[str, str]],
    told: str,
    copy: tuple[Path, Files],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, files = copy
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    write(files[name], rows)
    assert main(["train", "--resume", str(run)]) == 2
    said = words(capsys)
    assert f"{run}: {told} the run was started with; go on with the same data in the same order" in said
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_data_that_moved_are_named_anew_and_proven_to_be_the_same(
    copy: tuple[Path, Files], capsys: pytest.CaptureFixture[str]
) -> None:
    run, files = copy
    away = run.parent / "away"
    away.mkdir()
    moved = {name: path.rename(away / path.name) for name, path in files.items()}
    assert main(["train", "--resume", str(run)]) == 2
    assert "train.tsv" in words(capsys)
    named = own(moved, "train", "meta", "valid", "test")
    assert main(["train", "--resume", str(run), *named]) == 0
    assert json.loads((run / "manifest-2.json").read_text())["config"]["train"] == str(moved["train"])
    assert "started with" not in words(capsys)
    write(moved["meta"], pairs(100, 116))
    assert main(["train", "--resume", str(run), *named]) == 2
    assert "the trusted rows are not what the run was started with" in words(capsys)


def test_an_option_changed_in_the_manifest_is_noticed(
    copy: tuple[Path, Files], capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = copy
    edit(run, lambda about: about["config"].update(lr=0.5))
    assert main(["train", "--resume", str(run)]) == 2
    assert "options are others than the run was started with: its manifest.json was changed" in words(capsys)


def test_a_version_that_decides_is_refused_and_others_are_told(
    copy: tuple[Path, Files], capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = copy
    edit(run, lambda about: about["versions"].update(python="3.9.1", torch="1.0.0+cu1", numpy="1.2"))
    assert main(["train", "--resume", str(run)]) == 2
    assert "was started with torch 1.0.0+cu1 (now 2" in (said := words(capsys))
    assert "pip install torch==1.0.0 numpy==1.2, or start a new run" in said
    (run / "checkpoint.pt").unlink()  # nothing was trained with them
    assert main(["train", "--resume", str(run)]) == 0
    assert "started with python 3.9.1, now 3." in words(capsys)
    assert json.loads((run / "manifest.json").read_text())["versions"]["numpy"] != "1.2"


def test_another_build_of_torch_is_another_device_and_no_other_version() -> None:
    about = {"versions": {"torch": "2.0.0+cpu"}}
    with pytest.raises(ValueError, match=r"torch 2\.0\.0\+cpu"):
        other_versions(PLACE, about, refuse=True)
    import torch

    own_build = {"versions": {"torch": f"{torch.__version__.partition('+')[0]}+other"}}
    (line,) = other_versions(PLACE, own_build, refuse=True)
    assert line.startswith("started with torch")
    assert other_versions(PLACE, {}, refuse=True) == []


def test_a_run_of_an_older_version_goes_on_with_a_warning(
    copy: tuple[Path, Files], capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = copy
    edit(run, lambda about: about.pop("digests"))
    assert main(["train", "--resume", str(run)]) == 0
    assert "kept no digests: whether its data are the same cannot be checked" in words(capsys)


def test_images_in_another_order_are_another_run() -> None:
    config = tiny_images.config(noise="uniform")
    prepared = tasks["image"].prepare(config)
    about = run_manifest(config, prepared)
    require_data(PLACE, about, prepared)
    images = replace(prepared.images, train_images=prepared.images.train_images.flip(0))
    with pytest.raises(ValueError, match="the pictures are not what the run was started with"):
        require_data(PLACE, about, replace(prepared, images=images))
    labels = prepared.labels.clone()
    labels[prepared.splits.train[0]] = (labels[prepared.splits.train[0]] + 1) % 10
    with pytest.raises(ValueError, match="the training labels are not"):
        require_data(PLACE, about, replace(prepared, labels=labels))
    other = tasks["image"].prepare(replace(config, seed=1))
    with pytest.raises(ValueError, match=r"training labels, .*validation rows"):
        require_data(PLACE, about, other)


def test_options_are_equal_as_a_manifest_has_them() -> None:
    config = ImageConfig(lr=1, betas=[0.9, 0.99], teacher_options={"width": 4})  # type: ignore[arg-type]
    prepared = tasks["image"].prepare(config)
    about = json.loads(json.dumps(run_manifest(config, prepared)))
    require_options(PLACE, about, ImageConfig(lr=1.0, betas=(0.9, 0.99), teacher_options={"width": 4}))
    require_options(PLACE, about, replace(config, data_dir="elsewhere", device="cuda"))
    with pytest.raises(ValueError, match="the options are others"):
        require_options(PLACE, about, replace(config, lr=1.5))


def test_places_may_be_others_and_nothing_else() -> None:
    own_text = TranslationConfig(train="a", meta="b", valid="c")
    moved = replace(own_text, train="x/a", meta="x/b", device="cuda", data_dir="d")
    assert other_options(moved, own_text) == []
    assert other_options(moved, own_text, free=False) == ["train", "meta"]
    assert other_options(replace(own_text, test="t", lr=2.0), own_text) == ["lr", "test"]
    table = TranslationConfig(data="tsv:a")
    assert other_options(replace(table, data="tsv:b"), table) == []
    assert other_options(replace(table, data="hf:a"), table) == ["data"]
    assert other_options(ImageConfig(data="mnist"), ImageConfig()) == ["data"]
