"""What is kept says which format it has: a newer one is refused in a sentence, one of before it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from grid_folders import make_grid
from tiny_rows import rows
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import metaweight as mw
from metaweight.cli.main import main
from metaweight.report.page.study import read_study
from metaweight.tasks.rating import RATER
from metaweight.training import checkpoint
from metaweight.training.checkpoint import CheckpointError
from metaweight.training.run_folder import FOLDER_FORMAT, FORMAT, RunFolder
from metaweight.training.spread_checkpoint import LATEST, REST

NEWER = 99
TOO_NEW = rf"{{}} is a folder of format {NEWER}, this version of metaweight reads up to {FORMAT}: upgrade"
SHORT: dict[str, Any] = {
    "label": "kind",
    "epochs": 2,
    "warmup_epochs": 1,
    "batch_size": 20,
    "model_options": {"width": 8, "depth": 1},
}


def written_by(folder: Path, number: object, name: str = "manifest.json") -> Path:
    """``folder`` as if a version of that format had written it; None: one that did not say."""
    file = folder / name
    content = json.loads(file.read_text())
    del content[FOLDER_FORMAT]
    file.write_text(json.dumps(content if number is None else {**content, FOLDER_FORMAT: number}))
    return folder


def remade(file: Path) -> Path:
    """A sealed file as if a newer version had written it."""
    torch.save({**torch.load(file, weights_only=True), "format": NEWER}, file)
    return file


@pytest.fixture
def fit(tmp_path: Path) -> mw.Fit:
    train, trusted = (pd.DataFrame(rows(count, seed)) for count, seed in ((60, 0), (30, 1)))
    return mw.fit("tabular-mlp", train, trusted, teacher="memory", folder=tmp_path / "run", **SHORT)


def test_a_folder_says_its_format_and_gives_back_what_it_was_given(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {"seed": 1})
    folder.write_manifest({"seed": 2})
    for name, seed in (("manifest.json", 1), ("manifest-2.json", 2)):
        assert json.loads((folder.path / name).read_text()) == {"seed": seed, FOLDER_FORMAT: FORMAT}
        assert folder.manifest(name) == {"seed": seed}


def test_a_folder_of_before_formats_is_read(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid")
    for file in (tmp_path / "grid").rglob("manifest.json"):
        written_by(file.parent, None)
    assert len(read_study(tmp_path / "grid").results) == 6
    assert RunFolder.open(tmp_path / "grid" / "cells" / "uniform-0.4.mw-net.0").read_weights().index.numel()


def test_a_newer_folder_is_refused_by_whatever_opens_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_grid(tmp_path / "grid")
    cell = tmp_path / "grid" / "cells" / "uniform-0.4.mw-net.0"
    before = (cell / "manifest.json").read_text()
    for place in (written_by(cell, NEWER), written_by(tmp_path / "grid", NEWER)):
        with pytest.raises(ValueError, match=TOO_NEW.format(place)):
            RunFolder.open(place)
        for command in ("report", "suspects"):
            assert main([command, str(place)]) == 2
            assert f"is a folder of format {NEWER}" in " ".join(capsys.readouterr().err.split())
        (cell / "manifest.json").write_text(before)


def test_a_later_start_by_a_newer_version_counts_too(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid")
    RunFolder.open(tmp_path / "grid").write_manifest({"command": []})
    written_by(tmp_path / "grid", NEWER, "manifest-2.json")
    with pytest.raises(ValueError, match=TOO_NEW.format(tmp_path / "grid")):
        read_study(tmp_path / "grid")


@pytest.mark.parametrize("number", [0, -1, 1.0, "1", None, True])
def test_a_format_that_is_none_is_damage(number: object, tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", {})
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({FOLDER_FORMAT: number}))
    with pytest.raises(ValueError, match=rf"manifest\.json is damaged: {FOLDER_FORMAT} is"):
        RunFolder.open(tmp_path / "run")


def test_checkpoint_and_rater_of_a_newer_version_are_refused(fit: mw.Fit) -> None:
    told = rf"has format {NEWER}, this version reads up to {checkpoint.FORMAT}: upgrade metaweight"
    new = pd.DataFrame(rows(10, 2))
    assert len(mw.rate(fit.folder, new)) == 10
    with pytest.raises(CheckpointError, match=f"{remade(fit.folder / RATER)} {told}"):
        mw.rate(fit.folder, new)
    with pytest.raises(CheckpointError, match=told):
        checkpoint.load(remade(fit.folder / "checkpoint.pt"), {}, part="none")
    with pytest.raises(ValueError, match=TOO_NEW.format(written_by(fit.folder, NEWER))):
        mw.rate(fit.folder, new)


def test_a_saved_model_is_a_plain_state_dict_that_torch_reads_alone(fit: mw.Fit, tmp_path: Path) -> None:
    fit.save(tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    fit.model.load_state_dict(state, strict=True)


def loop_and_step() -> tuple[mw.Loop, Callable[[], None]]:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x = torch.randn(12, 3)
    train, trusted = (TensorDataset(part, (part[:, 0] > 0).long()) for part in (x[:8], x[8:]))
    loop = mw.Loop(net, optimizer, DataLoader(train, batch_size=4), DataLoader(trusted, batch_size=4))

    def epoch() -> None:
        for inputs, labels, weights in loop:
            losses = nn.functional.cross_entropy(net(inputs), labels, reduction="none")
            optimizer.zero_grad()
            (weights * losses).mean().backward()
            optimizer.step()

    return loop, epoch


def test_the_state_of_a_loop_says_its_format() -> None:
    loop, epoch = loop_and_step()
    epoch()
    state = loop.state_dict()
    older = {name: value for name, value in state.items() if name != "format"}
    for known in (state, older):
        again, one_more = loop_and_step()
        again.load_state_dict(known)
        one_more()
        assert again.weighing.history.weights.shape == (2, 8)
    again, one_more = loop_and_step()
    again.load_state_dict({**state, "format": NEWER})
    with pytest.raises(CheckpointError, match=rf"the state of metaweight has format {NEWER}, this version"):
        one_more()


def test_a_checkpoint_of_a_newer_version_that_all_processes_write(tmp_path: Path) -> None:
    def built() -> mw.Reweighter:
        module = nn.Linear(3, 2)
        student = mw.Student(module)
        spec = student.spec(mw.Batch((torch.zeros(2, 3),), torch.tensor([0, 1]), torch.arange(2)), samples=8)
        teacher = mw.build_teacher("mw-net", spec)
        return mw.Reweighter(student, teacher, optimizer=torch.optim.SGD(module.parameters(), lr=0.1))

    mw.save_checkpoint(built(), tmp_path)
    mw.load_checkpoint(built(), tmp_path)
    remade(tmp_path / (tmp_path / LATEST).read_text() / REST)
    with pytest.raises(CheckpointError, match=rf"has format {NEWER}, this version reads up to"):
        mw.load_checkpoint(built(), tmp_path)
