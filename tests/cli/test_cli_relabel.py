"""Labels that move in a run: by the command line and by ``fit``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import metaweight as mw
from metaweight.cli.main import main
from metaweight.training.run_folder import RunFolder

SHORT = ["--epochs", "2", "--warmup-epochs", "1", "--train-size", "300", "--batch-size", "50"]


def test_a_run_moves_labels_after_its_warm_up_and_the_plain_run_beside_it_none(tmp_path: Path) -> None:
    options = ["--noise", "uniform", "--teacher", "jury", "--relabel", "--plain-run"]
    assert main(["train", *SHORT, *options, "--out", str(tmp_path / "run")]) == 0
    folder = RunFolder.open(tmp_path / "run")
    assert folder.manifest()["config"]["relabel"] is True
    moved = [row.get("moved") for row in folder.read_steps()]
    assert moved[:6] == [None] * 6
    assert moved[6] == 0  # no trusted sample was seen before
    assert all(0 < share < 1 for share in moved[7:])
    plain = RunFolder.open(tmp_path / "run" / "plain")
    assert plain.manifest()["config"]["relabel"] is False
    assert not any("moved" in row for row in plain.read_steps())


def test_a_teacher_that_suggests_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *SHORT, "--teacher", "l2rw", "--relabel", "--out", str(tmp_path / "run")]) == 2
    assert "teacher 'l2rw' suggests none" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_fit_moves_labels_of_classes_and_refuses_numbers(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(120, 4, generator=g)
    y = x[:, :2].argmax(dim=1)
    own = {"teacher": "jury", "taps": ("1",), "relabel": True, "epochs": 2, "warmup_epochs": 0}

    def module(outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs))

    parts = (x[:80], y[:80]), (x[80:], y[80:])
    mw.fit(module(2), *parts, folder=tmp_path / "run", **own)
    assert RunFolder.open(tmp_path / "run").read_steps()[-1]["moved"] > 0
    parts = (x[:80], x[:80, :1]), (x[80:], x[80:, :1])
    with pytest.raises(ValueError, match="of numbers it suggests none, only of one class a sample"):
        mw.fit(module(1), *parts, loss=mw.losses.squared_error, **own)
