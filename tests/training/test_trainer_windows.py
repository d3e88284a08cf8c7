"""Runs whose iterations are windows of K batches: learning rates, meta batches, logs, resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from run_parts import Batches, StopAt, live
from slowly import covering
from students import SHAPE, Dropped, batch

import metaweight as mw
from metaweight.training.callbacks import Callback, Run, WeightHistory
from metaweight.training.checkpoint import CheckpointError
from metaweight.training.history import Interrupted
from metaweight.training.learning_rate import LearningRate
from metaweight.training.run_folder import RunFolder
from metaweight.training.trainer import Trainer

COURSE = LearningRate("cosine", warmup_steps=2)


class Noted(Batches):
    """A Source that notes which batches it was asked for."""

    def __init__(self, count: int, seed: int) -> None:
        super().__init__(count, seed)
        self.asked: list[tuple[int, int]] = []

    def batch(self, epoch: int, position: int) -> mw.Batch:
        self.asked.append((epoch, position))
        return super().batch(epoch, position)


def trainer(
    folder: RunFolder | None = None,
    *,
    unroll: int = 2,
    schedule: str = "online",
    meta: Batches | None = None,
    **options: object,
) -> Trainer:
    torch.manual_seed(0)
    module = Dropped().double()
    student = mw.Student(module, taps=("body.bn2",))
    teacher = mw.build_teacher("mlp", student.spec(batch(SHAPE, 4, 0)))
    reweighter = mw.Reweighter(
        student,
        teacher,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9),
        teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=0.01),
        engine="reverse",
        schedule=schedule,
        unroll=unroll,
    )
    chosen = {"epochs": 3, "evaluations": {"valid": [batch(SHAPE, 20, 7)]}, "learning_rate": COURSE} | options
    return Trainer(reweighter, Batches(5, 1), meta or Batches(4, 2), folder=folder, **chosen)


class Watch(Callback):
    """Notes each iteration."""

    def __init__(self) -> None:
        self.reports: list[mw.StepReport] = []
        self.batches: list[mw.Batch] = []

    def on_step(self, run: Run, batch: mw.Batch, report: mw.StepReport) -> None:
        self.reports.append(report)
        self.batches.append(batch)


def test_an_epoch_is_cut_into_windows_and_each_meets_the_next_meta_batch(tmp_path: Path) -> None:
    meta, watch = Noted(4, 2), Watch()
    run = trainer(RunFolder.create(tmp_path / "run", {}), meta=meta, callbacks=(watch,))
    history = run.fit()
    assert [len(r.index) // 6 for r in watch.reports] == [2, 2, 1] * 3
    # every meta batch has its turn, which counting real steps by twos would not give it
    assert meta.asked == [(n // 4, n % 4) for n in range(9)]
    assert (run.reweighter.steps, run.reweighter.windows) == (15, 9)
    for report, last in zip(watch.reports, watch.batches, strict=True):
        assert torch.equal(report.index[-6:], last.index)
    assert run.folder is not None
    assert [row["step"] for row in run.folder.read_steps()] == [2, 4, 5, 7, 9, 10, 12, 14, 15]
    for epoch, row in enumerate(history.epochs):
        losses = torch.cat([r.losses for r in watch.reports[3 * epoch : 3 * epoch + 3]])
        assert row["train_loss"] == pytest.approx(float(losses.mean()))


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_each_real_step_has_its_own_learning_rate(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the course gives it to a run without windows; the engine's inner steps have the same."""
    seen: list[list[float]] = []
    plain = mw.Reweighter.step

    def noting(
        self: mw.Reweighter, *given: object, rates: list[list[float]], **more: object
    ) -> mw.StepReport:
        seen.extend(rates)
        return plain(self, *given, rates=rates, **more)

    monkeypatch.setattr(mw.Reweighter, "step", noting)
    run = trainer(schedule=schedule)
    run.fit()
    expected = [0.1 * COURSE.factor(t, steps=15, steps_per_epoch=5) for t in range(15)]
    assert [rate for (rate,) in seen] == pytest.approx(expected, rel=1e-15)
    assert run.reweighter.optimizer.param_groups[0]["lr"] == pytest.approx(expected[-1])


def test_windows_of_plain_steps_train_as_single_ones_do() -> None:
    """All of a run but the last epoch is plain: the same steps, learning rates and masks."""
    ends = []
    for unroll in (1, 2, 5):
        run = trainer(unroll=unroll, epochs=3, warmup_epochs=2)
        run.history.stopped_early = False

        class Stop(Callback):
            def on_epoch(self, run: Run, row: object) -> None:
                if run.epoch == 2:
                    run.history.stopped_early = True  # type: ignore[attr-defined]

        run.callbacks = (Stop(),)
        torch.manual_seed(5)
        run.fit()
        ends.append(run.reweighter.student.module.state_dict())
    for other in ends[1:]:
        assert all(map(torch.equal, ends[0].values(), other.values()))


@pytest.mark.parametrize(("schedule", "step"), covering(["lookahead", "online"], [4, 5, 9]))
def test_ctrl_c_ends_the_window_and_the_resumed_run_is_the_whole_one(
    tmp_path: Path, schedule: str, step: int
) -> None:
    history = WeightHistory(30, 3)
    whole = trainer(
        RunFolder.create(tmp_path / "whole", {}), schedule=schedule, callbacks=(history, StopAt(-1))
    )
    whole.fit()
    folder = RunFolder.create(tmp_path / "cut", {})
    cut = trainer(folder, schedule=schedule, callbacks=(WeightHistory(30, 3), StopAt(step)))
    with pytest.raises(Interrupted, match=f"before step {step + 1}; its checkpoint is"):
        cut.fit()
    own = WeightHistory(30, 3)
    resumed = trainer(RunFolder.open(folder.path), schedule=schedule, callbacks=(own, StopAt(-1)))
    torch.manual_seed(999)
    resumed.resume()
    resumed.fit()
    assert all(map(torch.equal, live(resumed), live(whole)))
    assert torch.equal(own.weights, history.weights)
    assert RunFolder.open(folder.path).read_steps() == RunFolder.open(tmp_path / "whole").read_steps()


def test_a_checkpoint_of_other_windows_does_not_fit(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    trainer(folder).fit()
    with pytest.raises(CheckpointError, match="unroll is 2 there and 3"):
        trainer(unroll=3).resume(folder.path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="unroll is 2 there and absent"):
        trainer(unroll=1).resume(folder.path / "checkpoint.pt")


def test_a_checkpoint_from_before_windows_were_counted_goes_on(tmp_path: Path) -> None:
    run = trainer(RunFolder.create(tmp_path / "run", {}), unroll=1)
    run.fit()
    state = run.reweighter.state_dict()
    del state["windows"]
    run.reweighter.load_state_dict(state)
    assert run.reweighter.windows == run.reweighter.steps == 15
