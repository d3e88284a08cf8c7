"""The compare suite: its profiles, and a small run that ends in a report."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from benchmarks.compare.run import Arguments, suite
from metaweight.data import noises
from metaweight.remedies import remedies
from metaweight.student.losses import losses
from metaweight.teachers import names

NAMES = [
    (path.stem, profile)
    for path in sorted(suite.profiles.glob("*.toml"))
    for profile in tomllib.loads(path.read_text())
]


@pytest.mark.parametrize(("data", "profile"), NAMES)
def test_every_profile_is_a_grid_with_plain_training_and_three_seeds(data: str, profile: str) -> None:
    asked = suite.plan(Arguments(data=data, profile=profile))
    assert "uniform" in asked.grid.teachers
    assert len(asked.grid.seeds) >= 3
    for cell in asked.grid.cells():
        assert cell.config.data == data
        assert asked.task != "image" or cell.config.noise.partition(":")[0] in noises


def test_the_quick_profile_has_every_teacher_remedy_and_loss_there_is() -> None:
    arms = set(suite.plan(Arguments()).grid.teachers)
    classes = {*names(), *remedies.names(), *losses.names()} - {"length-ratio", "cross-entropy"}
    assert arms >= {name for name in classes if name != "margin"}  # the plug-in of another test


def test_a_small_run_leaves_table_statistics_and_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    small = ["epochs=2", "warmup_epochs=1", "train_size=200", 'model_options=["width=4"]']
    arms = ["uniform", "gce", "loss-filter", "mlp-window-5"]
    asked = ["--seeds", "0", "1", "--noises", "uniform@0.4", "--teachers", *arms, "--jobs", "1"]
    assert suite([*asked, "--options", *small, "--out", str(out)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"report: {out / 'report.html'}".replace(" ", "") in shown.replace(" ", "")
    page = (out / "report.html").read_text()
    statistics = (out / "statistics.md").read_text()
    for arm in arms:
        assert arm in page
        assert arm in statistics
    assert len(list(out.glob("cells/*/result.json"))) == 8


def test_a_profile_takes_the_options_of_anothers_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits.toml").write_text(
        '[quick]\nteachers = ["uniform"]\n[quick.run]\nlr = 0.1\nepochs = 5\n'
        '[less]\nrun_of = "quick"\nteachers = ["knn"]\n[less.run]\nepochs = 3\n[typo]\nrun_of = "quik"\n'
    )
    monkeypatch.setattr(type(suite), "profiles", tmp_path)
    assert suite.profile("digits", "less") == {"teachers": ["knn"], "run": {"lr": 0.1, "epochs": 3}}
    assert suite.profile("digits", "quick")["run"] == {"lr": 0.1, "epochs": 5}
    with pytest.raises(KeyError, match=r"digits has no profile 'quik'\. Did you mean 'quick'"):
        suite.profile("digits", "typo")
