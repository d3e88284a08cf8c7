"""The compare suite: its profiles, and a small run that ends in a report."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from metaweight.cli.main import main
from metaweight.comparison.grid_file import read_plan
from metaweight.data import noises
from metaweight.remedies import remedies
from metaweight.student.losses import losses
from metaweight.teachers import names

PROFILES = Path(__file__).parents[2] / "benchmarks" / "compare" / "profiles"
NAMES = [
    (path, name)
    for path in sorted(PROFILES.glob("*.toml"))
    for name in tomllib.loads(path.read_text()).keys() - {"task", "imports", "run"}
]


@pytest.mark.parametrize(("path", "profile"), sorted(NAMES), ids=lambda part: getattr(part, "stem", part))
def test_every_profile_is_a_grid_with_plain_training_and_three_seeds(path: Path, profile: str) -> None:
    asked = read_plan(path, profile=profile)
    assert "uniform" in asked.grid.arms
    assert len(asked.grid.seeds) >= 3
    for cell in asked.grid.cells():
        assert cell.config.data == path.stem
        assert asked.task != "image" or cell.config.noise.partition(":")[0] in noises


def test_the_quick_profile_has_every_teacher_remedy_and_loss_there_is() -> None:
    arms = set(read_plan(PROFILES / "digits.toml", profile="quick").grid.arms)
    classes = {*names(), *remedies.names(), *losses.names()} - {"auto", "length-ratio", "cross-entropy"}
    # the plug-in of another test; what takes fifty plain runs, and has a profile of its own
    assert arms >= classes - {"margin", "whole-run", "whole-run-teacher"}


def test_a_small_run_leaves_table_statistics_and_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    small = ["--epochs", "2", "--warmup-epochs", "1", "--train-size", "200", "--model-options", "width=4"]
    arms = ["uniform", "gce", "loss-filter", "mlp-window-5"]
    asked = ["--seeds", "0", "1", "--noises", "uniform@0.4", "--arms", *arms, "--jobs", "1"]
    profile = ["--grid", str(PROFILES / "digits.toml"), "--profile", "quick"]
    assert main(["compare", *profile, *asked, *small, "--out", str(out)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"report: {out / 'report.html'}".replace(" ", "") in shown.replace(" ", "")
    page = (out / "report.html").read_text()
    statistics = (out / "statistics.md").read_text()
    for arm in arms:
        assert arm in page
        assert arm in statistics
    assert len(list(out.glob("cells/*/result.json"))) == 8
