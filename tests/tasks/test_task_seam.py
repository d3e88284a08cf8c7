"""A task of nothing but tensors runs through grid, table, cost and pictures: the suite knows no images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from published import compare
from rich.console import Console
from torch import Tensor, nn

import metaweight as mw
from metaweight.comparison.grid import Grid
from metaweight.core.contracts import MetaweightError
from metaweight.core.csv_text import read_csv
from metaweight.core.digest import digest
from metaweight.data import derive
from metaweight.data.origins import LeftOut, Origins
from metaweight.tasks import Evaluation, Outcome, Sources, run, tasks
from metaweight.tasks.assembly import Assembled, build_optimizer, build_reweighter, seed_of
from metaweight.tasks.config import RunConfig
from metaweight.tasks.cost import COST
from metaweight.tasks.figures import Column, Compared, Curve, Headline, Presentation
from metaweight.training.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class LineConfig(RunConfig):
    """A line through points, some of them far off."""

    task: ClassVar[str] = "line"

    data: str = "points"
    meta_size: int = 8
    valid_size: int = 8
    model: str = "linear"
    teacher_lr: float = 0.01
    epochs: int = 4
    warmup_epochs: int = 0
    batch_size: int = 10
    meta_batch_size: int = 8
    optimizer: str = "adam"
    lr: float = 0.1
    lr_schedule: str = "constant"
    slope: float = 2.0


@dataclass(frozen=True)
class Points:
    """The data of a run."""

    x: Tensor
    y: Tensor
    title: str = "points"
    source: str = "drawn"

    @property
    def samples(self) -> int:
        return len(self.x)

    @property
    def origins(self) -> Origins:
        return Origins.of(self.title, range(1, self.samples + 1))

    @property
    def left_out(self) -> LeftOut:
        return LeftOut(Origins.of(self.title, (37,)), ("it has no number",), ("a point\r\nof two lines",))

    @property
    def digests(self) -> dict[str, str]:
        return {"points": digest(self.x, self.y)}


class Slices:
    """Batches in their order."""

    def __init__(self, points: Points, index: Tensor, size: int) -> None:
        self.points, self.index, self.size = points, index, size

    def __len__(self) -> int:
        return len(self.index) // self.size

    def batch(self, epoch: int, position: int) -> mw.Batch:
        index = self.index[position * self.size :][: self.size]
        return mw.Batch((self.points.x[index],), self.points.y[index], index)


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.squeeze(-1) - targets).square()


def mean_loss(student: mw.Student, batches: object) -> dict[str, float]:
    (batch,) = batches  # type: ignore[misc]
    with torch.no_grad():
        return {"loss": float(student(batch, taps=False).loss.mean())}


class LineTask:
    """Fits a line; a loss decides the best epoch."""

    config = LineConfig
    presentation = Presentation(
        columns=(Column("loss", "loss", digits=3, best="lowest"), COST),
        compared=(Compared("loss", "last epoch", "", digits=3, higher_is_better=False),),
        curve=Curve("valid_loss", "Loss", "squared error"),
        counted="points",
        watched=Headline("valid loss", "valid_loss"),
        headlines=(Headline("loss", "loss", "{:.3f} by {signature}"),),
        notes=lambda runs: sorted({f"Scored by {run.result.details['signature']}." for run in runs}),
    )
    noises = ("none", "far")

    def check(self, config: LineConfig) -> None:
        pass

    def prepare(self, config: LineConfig) -> Points:
        x = torch.randn(36, 1, generator=derive(config.seed, "x"))
        y = config.slope * x.squeeze(-1)
        if config.noise == "far":
            y[16:] += torch.linspace(-9, 9, 20)
        return Points(x, y)

    def keep(self, prepared: Points, folder: RunFolder) -> None:
        (folder.path / "kept.txt").write_text("from the start")

    def build(self, config: LineConfig, prepared: Points) -> mw.Reweighter:
        torch.manual_seed(seed_of(config.seed, "initial"))
        student = mw.Student(nn.Linear(1, 1), loss=squared)
        return build_reweighter(
            config, student, student.spec(self.sources(config, prepared).meta.batch(0, 0))
        )

    def sources(self, config: LineConfig, prepared: Points) -> Sources:
        return Sources(
            Slices(prepared, torch.arange(16, 36), config.batch_size),
            Slices(prepared, torch.arange(8), config.meta_batch_size),
        )

    def evaluation(self, config: LineConfig, prepared: Points) -> Evaluation:
        valid = [Slices(prepared, torch.arange(8, 16), 8).batch(0, 0)]
        return Evaluation({"valid": valid}, mean_loss, monitor="valid_loss", higher_is_better=False)

    def conclude(
        self, config: LineConfig, prepared: Points, trained: Assembled, folder: RunFolder | None
    ) -> Outcome:
        if folder is not None:
            (folder.path / "slope.txt").write_text(str(config.slope))
        losses = [row["valid_loss"] for row in trained.trainer.history.epochs]
        best = trained.trainer.history.best_epoch
        assert best is not None
        assert losses[best - 1] == min(losses)
        figures = {"loss": losses[-1], "best": losses[best - 1], "undefined": float("nan")}
        return trained.outcome(figures, {"signature": "squared"})


@pytest.fixture(autouse=True)
def line() -> Iterator[None]:
    """The task, registered for one test."""
    with tasks.temporarily("line", LineTask()):
        yield


def test_a_grid_of_another_task_is_run_measured_and_published(tmp_path: Path) -> None:
    grid = Grid(LineConfig(), ("uniform", "mw-net"), ("none", "far"), (0, 1), {"mw-net": {"every": 2}})
    out = tmp_path / "grid"
    with (tmp_path / "shown.txt").open("w") as shown:
        results = compare(grid, out, jobs=1, console=Console(file=shown, width=100))
    assert [r.failure for r in results] == [None] * 8
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["task"], manifest["data"]) == ("line", "points: drawn")
    table = (out / "table.md").read_text().splitlines()
    assert table[0] == "# points"
    assert table[4] == "| arm | loss | cost, plain steps | seeds |"
    assert table[-2:] == ["", "Scored by squared."]
    assert "Scored by squared." in (tmp_path / "shown.txt").read_text()
    assert (out / "runs.csv").read_text().splitlines()[0] == "noise,arm,seed,loss,cost,best,undefined"
    assert (out / "plots" / "valid_loss.png").read_bytes().startswith(b"\x89PNG")
    cell = out / "cells" / "far.mw-net.0"
    assert (cell / "slope.txt").read_text() == "2.0"
    assert read_csv(cell / "left_out.csv") == [
        {
            "file": "points",
            "row": "37",
            "name": "",
            "reason": "it has no number",
            "text": "a point\r\nof two lines",
        }
    ]
    kept = json.loads((cell / "result.json").read_text())
    assert kept["details"] == {"signature": "squared"}
    assert kept["figures"]["cost"] > 1
    assert kept["figures"]["undefined"] is None
    assert json.loads((cell / "manifest.json").read_text())["task"] == "line"
    assert json.loads((out / "cells" / "far.mw-net.1" / "result.json").read_text())["figures"]["cost"] is None


def test_a_figure_that_is_infinite_fails_its_own_cell_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conclude(self: object, config: LineConfig, *rest: object) -> Outcome:
        assert isinstance(rest[1], Assembled)
        loss = float("inf") if config.teacher == "uniform" else 1.0
        return rest[1].outcome({"loss": loss}, {"signature": "nothing"})

    monkeypatch.setattr(LineTask, "conclude", conclude)
    grid = Grid(LineConfig(), ("uniform", "mw-net"), ("none",), (0,))
    with pytest.raises(
        MetaweightError, match=r"1 of 2 runs failed; none.uniform.0: .*loss of uniform .* inf"
    ):
        compare(grid, tmp_path / "grid", jobs=1, console=Console(quiet=True))
    assert "| mw-net | 1.000 |" in (tmp_path / "grid" / "table.md").read_text()


def test_a_run_needs_no_folder_and_repeats_bit_for_bit() -> None:
    first, again = (run(LineConfig(teacher="mw-net", noise="far")) for _ in range(2))
    assert first.figures["loss"] == again.figures["loss"]
    assert first.figures["loss"] != run(LineConfig(teacher="mw-net", noise="far", seed=1)).figures["loss"]


def test_every_option_of_an_optimizer_reaches_it() -> None:
    parameters = [nn.Parameter(torch.zeros(2))]
    given = {"lr": 0.3, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.02}
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        optimizer = build_optimizer(LineConfig(optimizer=name, **given), parameters)  # type: ignore[arg-type]
        assert type(optimizer) is kind
        assert given.items() <= optimizer.param_groups[0].items()
    config = LineConfig(optimizer="sgd", lr=0.3, momentum=0.7, nesterov=True, weight_decay=0.02)
    (group,) = build_optimizer(config, parameters).param_groups
    assert {"lr": 0.3, "momentum": 0.7, "nesterov": True, "weight_decay": 0.02}.items() <= group.items()
    with pytest.raises(KeyError, match=r"unknown optimizer 'adamm'\. Did you mean 'adam'"):
        build_optimizer(LineConfig(optimizer="adamm"), parameters)
