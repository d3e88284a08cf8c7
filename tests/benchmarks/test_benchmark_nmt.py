"""The translation suite: every profile names things that exist, own data borrow one, a small run is whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tiny_translation import flags, pairs, write

import benchmarks.data  # noqa: F401 - registers the sets that come as files
import metaweight as mw
from metaweight.cli.main import main
from metaweight.comparison.grid_file import read_plan
from metaweight.data.text import parse_mix, texts
from metaweight.models.translators import translator_options, translators
from metaweight.tasks.config import TranslationConfig

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "benchmarks" / "nmt" / "profiles"
NAMES = [(path, name) for path in sorted(PROFILES.glob("*.toml")) for name in ("quick", "standard", "full")]
FEW = ["--noises", "copied@0.3", "--arms", "uniform", "surface", "--seeds", "0", "--jobs", "1"]


def profile(data: str, name: str = "quick") -> list[str]:
    return ["compare", "--grid", str(PROFILES / f"{data}.toml"), "--profile", name]


def test_every_text_set_has_profiles() -> None:
    assert {path.stem for path, _ in NAMES} == set(texts.names())


@pytest.mark.parametrize(("path", "profile"), NAMES, ids=lambda part: getattr(part, "stem", part))
def test_every_profile_names_what_exists(path: Path, profile: str) -> None:
    grid = read_plan(path, profile=profile).grid
    assert "uniform" in grid.arms  # a plain row stands in every table, and what p-values refer to
    assert profile == "quick" or len(grid.seeds) >= 3
    for cell in grid.cells():
        assert isinstance(cell.config, TranslationConfig)
        assert cell.config.teacher in mw.teachers.names()
        assert cell.config.model in translators
        assert set(cell.config.model_options) <= set(translator_options(cell.config.model))
        assert cell.config.data == path.stem
        kinds = parse_mix(cell.config.noise)
        assert path.stem == "mismatch" or "out-of-domain" not in kinds
        assert cell.config.warmup_epochs < cell.config.epochs
    assert len({cell.name for cell in grid.cells()}) == len(grid.cells())


def test_a_small_run_on_own_pairs_leaves_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path / "own.tsv", pairs(0, 180))
    monkeypatch.chdir(tmp_path)
    options = flags(train_size=100, meta_size=20, valid_size=10, test_size=10, epochs=1)
    own = ["--data", f"tsv:{table}", "--meta-from-train"]
    assert main([*profile("multi30k"), *own, *FEW, *options]) == 0
    (out,) = (tmp_path / "runs").iterdir()
    assert out.name.startswith("compare-multi30k-quick-")
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
        (profile("cldrr"), "cldrr.toml: there is no such file. Did you mean 'cldr.toml'"),
        (profile("cldr", "quik"), "Did you mean 'quick'"),
        ([*profile("cldr"), "--arms", "atention"], "Did you mean 'attention'"),
        ([*profile("cldr"), "--noises", "mixed@x"], "KIND or KIND@RATE"),
        ([*profile("cldr"), "--noises", "copid@0.3", "--train-size", "50"], "Did you mean 'copied'"),
        ([*profile("multi30k"), "--data-dir", "/nowhere"], "/nowhere"),
        (
            [*profile("multi30k"), "--data", "tsv:/nowhere/pairs.tsv", "--meta-from-train"],
            "pairs.tsv: there is no such file",
        ),
        ([*profile("multi30k"), "--data", "tsv:", "--meta-from-train"], "names no file"),
    ],
)
def test_mistakes_are_said_in_words(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main([*arguments, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_noise_without_its_material_is_said_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path / "own.tsv", pairs(0, 180))
    options = flags(train_size=100, meta_size=20, valid_size=10, test_size=10, vocab_size=26)
    own = ["--data", f"tsv:{table}", "--meta-from-train", "--noises", "wrong-language@0.3", *options]
    assert main([*profile("multi30k"), *own, "--out", str(tmp_path / "run")]) == 2
    assert "wrong-language" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("nmt", [], "nmt/profiles/cldr.toml --profile quick"),
        (
            "nmt",
            ["DATA=multi30k", "PROFILE=full", "ARGS=--jobs 2"],
            "nmt/profiles/multi30k.toml --profile full --jobs 2",
        ),
        ("image", [], "image/profiles/digits.toml --profile quick"),
        ("compare", [], "compare/profiles/digits.toml --profile quick"),
    ],
)
def test_make_hands_on_its_options(target: str, options: list[str], said: str) -> None:
    command = ["make", "-s", "-n", "-o", ".venv/.installed", f"bench-{target}", *options]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f".venv/bin/metaweight compare --grid benchmarks/{said}"
