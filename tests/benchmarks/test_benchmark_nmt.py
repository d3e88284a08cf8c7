"""The translation suite: every profile names things that exist, own data borrow one, a small run is whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tiny_translation import OPTIONS, pairs, write

import metaweight as mw
from benchmarks.image.run import suite as images
from benchmarks.nmt.run import Arguments, suite
from metaweight.data.text import parse_mix, texts
from metaweight.models.translators import translator_options, translators
from metaweight.tasks.config import TranslationConfig, parse_values

ROOT = Path(__file__).parents[2]
PROFILES = ("quick", "standard", "full")
NAMES = [(path.stem, name) for path in sorted(suite.profiles.glob("*.toml")) for name in PROFILES]
FEW = ["--noises", "copied@0.3", "--teachers", "uniform", "surface", "--seeds", "0", "--jobs", "1"]


def test_every_text_set_has_profiles() -> None:
    assert {data for data, _ in NAMES} == set(texts.names())


@pytest.mark.parametrize(("data", "profile"), NAMES)
def test_every_profile_names_what_exists(data: str, profile: str) -> None:
    asked = suite.plan(Arguments(data=data, profile=profile))
    grid, jobs = asked.grid, asked.jobs
    assert jobs >= 1
    assert "uniform" in grid.teachers  # a plain row stands in every table, and what p-values refer to
    assert profile == "quick" or len(grid.seeds) >= 3
    for cell in grid.cells():
        assert isinstance(cell.config, TranslationConfig)
        assert cell.config.teacher in mw.teachers.names()
        assert cell.config.model in translators
        assert set(parse_values(cell.config.model_options)) <= set(translator_options(cell.config.model))
        assert cell.config.data == data
        kinds = parse_mix(cell.config.noise)
        assert data == "mismatch" or "out-of-domain" not in kinds
        assert cell.config.warmup_epochs < cell.config.epochs
    assert len({cell.name for cell in grid.cells()}) == len(grid.cells())


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("data", ["tsv:some/pairs.tsv", "hf:someone/pairs?source=de&target=en"])
def test_own_data_take_the_profiles_of_multi30k(data: str, profile: str) -> None:
    assert suite.profile(data, profile) == suite.profile("multi30k", profile)
    asked = suite.plan(Arguments(data=data, profile=profile))
    grid = asked.grid
    assert {cell.config.data for cell in grid.cells()} == {data}


def test_a_suite_borrows_only_what_it_declares() -> None:
    with pytest.raises(KeyError, match="no profiles for 'hf:someone/images'"):
        images.profile("hf:someone/images", "quick")
    with pytest.raises(KeyError, match=r"no profiles for 'csv:a\.csv'"):
        suite.profile("csv:a.csv", "quick")


def test_a_small_run_on_own_pairs_leaves_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path / "own.tsv", pairs(0, 180))
    monkeypatch.chdir(tmp_path)
    sizes = {"train_size": 100, "meta_size": 20, "valid_size": 10, "test_size": 10, "epochs": 1}
    options = [f"{name}={json.dumps(value)}" for name, value in {**OPTIONS, **sizes}.items()]
    assert suite(["--data", f"tsv:{table}", *FEW, "--options", *options]) == 0
    (out,) = (tmp_path / "runs").iterdir()  # one folder, though the data set's name holds slashes
    assert out.name.startswith("nmt-tsv-")
    assert out.name in "".join(capsys.readouterr().out.split())
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["task"] == "translation"
    assert manifest["config"]["base"]["data"] == f"tsv:{table}"
    assert {"sacrebleu", "sentencepiece", "Babel", "torch"} <= set(manifest["versions"])
    assert sorted(path.name for path in (out / "cells").iterdir()) == [
        "copied-0.3.surface.0",
        "copied-0.3.uniform.0",
    ]
    shown = (out / "table.md").read_text()
    assert shown.startswith("# own.tsv source-target, 100 training pairs\n")
    assert "| arm | BLEU | BLEU, greedy | chrF | AUROC of the weights | cost, plain steps | seeds |" in shown
    assert "BLEU|nrefs:1" in shown
    assert "| arm | copied |" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "cldrr"], "no profiles for 'cldrr'. Did you mean 'cldr'"),
        (["--profile", "quik"], "Did you mean 'quick'"),
        (["--teachers", "atention"], "Did you mean 'attention'"),
        (["--noises", "mixed@x"], "KIND or KIND@RATE"),
        (["--noises", "copid@0.3", "--options", "train_size=50"], "Did you mean 'copied'"),
        (["--options", "epoch=3"], "Did you mean 'epochs'"),
        (["--data", "multi30k", "--data-dir", "/nowhere"], "/nowhere"),
        (["--data", "tsv:/nowhere/pairs.tsv"], "/nowhere/pairs.tsv: there is no such file"),
        (["--data", "tsv:"], "names no file"),
    ],
)
def test_mistakes_are_said_in_words(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert suite([*arguments, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_noise_without_its_material_is_said_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path / "own.tsv", pairs(0, 180))
    sizes = ["train_size=100", "meta_size=20", "valid_size=10", "test_size=10", "vocab_size=26"]
    arguments = ["--data", f"tsv:{table}", "--noises", "wrong-language@0.3", "--options", *sizes]
    assert suite([*arguments, "--out", str(tmp_path / "run")]) == 2
    assert "wrong-language" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("nmt", [], "--data cldr --profile quick"),
        (
            "nmt",
            ["DATA=multi30k", "PROFILE=full", "ARGS=--jobs 2"],
            "--data multi30k --profile full --jobs 2",
        ),
        ("image", [], "--data digits --profile quick"),
    ],
)
def test_make_hands_on_its_options(target: str, options: list[str], said: str) -> None:
    command = ["make", "-s", "-n", "-o", ".venv/.installed", f"bench-{target}", *options]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f".venv/bin/python -m benchmarks.{target}.run {said}"
