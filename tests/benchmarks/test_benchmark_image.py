"""The image suite: every profile names things that exist, and a small run leaves what the README says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import metaweight as mw
from metaweight.cli.main import main
from metaweight.comparison.grid_file import read_plan
from metaweight.data import noises
from metaweight.models import models

PROFILES = Path(__file__).parents[2] / "benchmarks" / "image" / "profiles"
NAMES = [(path, name) for path in sorted(PROFILES.glob("*.toml")) for name in ("quick", "standard", "full")]
DIGITS = ["compare", "--grid", str(PROFILES / "digits.toml"), "--profile", "quick"]


@pytest.mark.parametrize(("path", "profile"), NAMES, ids=lambda part: getattr(part, "stem", part))
def test_every_profile_names_what_exists(path: Path, profile: str) -> None:
    grid = read_plan(path, profile=profile).grid
    assert "uniform" in grid.arms  # a plain row stands in every table
    assert profile == "quick" or len(grid.seeds) >= 3
    for cell in grid.cells():
        assert cell.config.teacher in mw.teachers.names()
        assert cell.config.noise.partition(":")[0] in noises
        assert cell.config.model in models
        assert cell.config.data == path.stem
    assert len({cell.name for cell in grid.cells()}) == len(grid.cells())


def test_the_full_cifar_profile_is_the_protocol_of_mw_net() -> None:
    grid = read_plan(PROFILES / "cifar10.toml", profile="full").grid
    cells = {cell.noise: cell.config for cell in grid.cells()}
    flip, uniform, tail = cells["flip2@0.4"], cells["uniform@0.4"], cells["long-tail-100"]
    assert (flip.model, flip.epochs, flip.lr_milestones) == ("resnet-32", 60, (40, 50))
    assert (uniform.model, uniform.epochs, uniform.lr_milestones) == ("wrn-28-10", 40, (36, 38))
    assert (tail.noise, tail.imbalance, tail.imbalance_ratio, tail.teacher_lr) == (
        "none",
        "long-tail",
        100.0,
        1e-5,
    )
    for config in (flip, uniform, tail):
        assert (config.lr, config.momentum, config.weight_decay, config.batch_size) == (0.1, 0.9, 5e-4, 100)


def test_a_small_run_leaves_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    asked = ["--arms", "uniform", "l2rw", "--noises", "uniform@0.4", "--seeds", "0", "--jobs", "1"]
    quick = ["--epochs", "1", "--warmup-epochs", "0", "--train-size", "300", "--batch-size", "50"]
    assert main([*DIGITS, *asked, *quick, "--out", str(out)]) == 0
    assert str(out) in "".join(capsys.readouterr().out.split())
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["config"]["base"]["epochs"] == 1
    assert {"commit", "versions", "command", "started"} <= set(manifest)
    cells = sorted(path.name for path in (out / "cells").iterdir())
    assert cells == ["uniform-0.4.l2rw.0", "uniform-0.4.uniform.0"]
    first = json.loads((out / "cells" / "uniform-0.4.l2rw.0" / "result.json").read_text())
    assert first["figures"]["cost"] > 1  # a meta-iteration costs more than a plain step
    assert first["figures"]["auroc"] is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", str(PROFILES / "digts.toml")], "there is no such file. Did you mean 'digits.toml'"),
        (["--profile", "quik"], "Did you mean 'quick'"),
        (["--arms", "mw_net"], "Did you mean 'mw-net'"),
        (["--noises", "uniform@x"], "KIND or KIND@RATE"),
        (["--grid", str(PROFILES / "cifar10.toml"), "--data-dir", "/nowhere"], "/nowhere"),
    ],
)
def test_mistakes_are_said_in_words(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main([*DIGITS, *arguments, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
