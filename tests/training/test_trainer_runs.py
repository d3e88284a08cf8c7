"""Whole runs: resume bit for bit, Ctrl-C, NaN, early stop, learning rates, checkpoints that do not fit."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path

import pytest
import torch
from run_parts import Batches, StopAt, live
from slowly import slowly
from students import SHAPE, Dropped, batch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import metaweight as mw
from benchmarks.speed.device_reads import DeviceReads
from metaweight.training import checkpoint
from metaweight.training.callbacks import Callback, Run, Throughput, WeightHistory
from metaweight.training.checkpoint import CheckpointError
from metaweight.training.evaluation import evaluate
from metaweight.training.history import Interrupted
from metaweight.training.learning_rate import LearningRate
from metaweight.training.run_folder import RunFolder
from metaweight.training.trainer import Trainer


def trainer(
    folder: RunFolder | None = None,
    *,
    epochs: int = 4,
    name: str = "mlp",
    train: Batches | None = None,
    **options: object,
) -> Trainer:
    torch.manual_seed(0)
    module = Dropped().double()
    student = mw.Student(module, taps=("body.bn2",))
    teacher = mw.build_teacher(name, student.spec(batch(SHAPE, 4, 0)))
    learned = list(teacher.parameters())
    reweighter = mw.Reweighter(
        student,
        teacher,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9),
        teacher_optimizer=torch.optim.Adam(learned, lr=0.01) if learned else None,
        engine="forward",
    )
    defaults: dict[str, object] = {
        "evaluations": {"valid": [batch(SHAPE, 20, 7)], "test": [batch(SHAPE, 20, 8)]},
        "learning_rate": LearningRate("cosine", warmup_steps=2),
    }
    return Trainer(
        reweighter,
        train or Batches(3, 1),
        Batches(2, 2),
        epochs=epochs,
        folder=folder,
        **{**defaults, **options},
    )


@pytest.mark.parametrize("step", [3, 5, 7])
def test_ctrl_c_writes_a_checkpoint_and_the_resumed_run_is_the_whole_one(tmp_path: Path, step: int) -> None:
    history = WeightHistory(18, 4)
    whole = trainer(RunFolder.create(tmp_path / "whole", {}), callbacks=(history, StopAt(-1)))
    whole.fit()
    folder = RunFolder.create(tmp_path / "cut", {})
    before = signal.getsignal(signal.SIGINT)
    cut = trainer(folder, callbacks=(WeightHistory(18, 4), StopAt(step)))
    with pytest.raises(Interrupted, match=f"before step {step + 1}; its checkpoint is"):
        cut.fit()
    assert signal.getsignal(signal.SIGINT) is before
    own = WeightHistory(18, 4)
    resumed = trainer(RunFolder.open(folder.path), callbacks=(own, StopAt(-1)))
    torch.manual_seed(999)  # the generators come from the checkpoint, not from here
    resumed.resume()
    resumed.fit()
    for a, b in zip(live(resumed), live(whole), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(own.weights, history.weights)

    def rows(run: Trainer) -> list[dict[str, float]]:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in run.history.epochs]

    assert rows(resumed) == rows(whole)
    steps = [row["step"] for row in RunFolder.open(folder.path).read_steps()]
    assert steps == list(range(1, 13))
    assert RunFolder.open(folder.path).read_steps() == RunFolder.open(tmp_path / "whole").read_steps()


class Unlike(Dataset[tuple[Tensor, int]]):
    """Rows that are drawn anew each time."""

    def __len__(self) -> int:
        return 9

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return torch.randn(SHAPE, dtype=torch.float64), place % 3


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, *slowly(1)])
def test_a_resumed_run_is_evaluated_on_the_same_draws(tmp_path: Path, workers: int) -> None:
    def run(path: Path, *callbacks: Callback) -> Trainer:
        valid = DataLoader(Unlike(), batch_size=4, num_workers=workers)
        folder = RunFolder.open(path) if path.exists() else RunFolder.create(path, {})
        return trainer(folder, evaluations={"valid": valid}, callbacks=callbacks, monitor="valid_loss")

    whole = run(tmp_path / "whole", StopAt(-1)).fit()
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", StopAt(5)).fit()
    resumed = run(tmp_path / "cut", StopAt(-1))
    resumed.resume()
    resumed.fit()
    losses = [[row["valid_loss"] for row in one.epochs] for one in (whole, resumed.history)]
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 4


def test_a_killed_run_resumes_from_the_last_epoch_without_double_steps(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Kill(Callback):
        def on_step(self, run: Run, batch: mw.Batch, report: mw.StepReport) -> None:
            if run.reweighter.steps == 5:
                raise Killed

    folder = RunFolder.create(tmp_path / "run", {})
    with pytest.raises(Killed):
        trainer(folder, callbacks=(Kill(),)).fit()
    folder.flush()
    with (folder.path / "steps.jsonl").open("a") as file:
        file.write('{"step": 6, "ep')  # a torn line
    resumed = trainer(RunFolder.open(folder.path), callbacks=(Callback(),))
    resumed.resume()
    assert (resumed.epoch, resumed.position) == (1, 0)
    resumed.fit()
    assert [r["step"] for r in RunFolder.open(folder.path).read_steps()] == list(range(1, 13))


def test_a_nan_names_samples_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    run = trainer(folder, train=Batches(3, 1, nan_at=(2, 1)))
    with pytest.raises(
        mw.NonFiniteError, match=r"epoch 3, step 8.*index 6, 7.*last good checkpoint is"
    ) as caught:
        run.fit()
    assert caught.value.index is not None
    assert caught.value.index.tolist() == [6, 7, 8, 9, 10, 11]
    good = trainer(RunFolder.open(folder.path))
    good.resume()
    assert good.epoch == 2


def test_warm_up_epochs_are_plain_and_early_stop_follows_validation_only() -> None:
    seen: list[tuple[int, Tensor, float | None]] = []

    class See(Callback):
        def on_step(self, run: Run, batch: mw.Batch, report: mw.StepReport) -> None:
            seen.append((run.epoch, report.weights, report.meta_loss))

    run = trainer(epochs=6, warmup_epochs=2, callbacks=(See(),))
    run.fit()
    assert all(torch.equal(w, torch.ones_like(w)) for e, w, _ in seen if e < 2)
    assert [meta is None for _, _, meta in seen] == [e < 2 for e, _, _ in seen]
    assert any(float(w.std()) > 0 for e, w, _ in seen if e >= 2)

    class Scripted(Trainer):
        """Replays validation accuracies, and a test accuracy that must have no say."""

        def _evaluate(self) -> dict[str, float]:
            row = {
                "epoch": float(self.epoch),
                "valid_accuracy": script[self.epoch - 1],
                "test_accuracy": 100.0 - self.epoch,
            }
            self.history.epochs.append(row)
            self._watch()
            return row

    script = [50.0, 60.0, 60.0, 59.0, 58.0, 70.0]
    made = trainer(epochs=6)
    early = Scripted(
        made.reweighter, Batches(3, 1), Batches(2, 2), epochs=6, evaluations={"valid": []}, patience=3
    )
    early.fit()
    assert (early.epoch, early.history.best_epoch, early.history.stopped_early) == (5, 2, True)


@pytest.mark.parametrize(
    ("script", "higher", "best", "stopped_at"),
    [
        ([3.0, 2.0, 2.0, 2.5, 1.0], False, 2, 4),
        ([3.0, 2.0, 2.0, 2.5, 4.0], True, 1, 3),
        ([math.nan, 2.0, math.nan, 1.0, 1.5], False, 4, 5),
        ([math.nan, math.nan, math.nan], True, 1, 3),
    ],
)
def test_a_task_chooses_what_is_measured_and_what_is_better(
    script: list[float], higher: bool, best: int, stopped_at: int
) -> None:
    scores = iter(script)

    def measure(student: mw.Student, batches: object) -> dict[str, float]:
        return {"score": next(scores), "batches": float(batches == "sentences")}

    run = trainer(
        epochs=len(script),
        evaluations={"valid": "sentences"},
        evaluate=measure,
        monitor="valid_score",
        higher_is_better=higher,
        patience=2,
    )
    run.fit()
    assert (run.history.best_epoch, run.epoch) == (best, stopped_at)
    assert run.history.epochs[0]["valid_batches"] == 1
    assert run.history.stopped_early == (best + 2 <= stopped_at)


def test_a_monitor_that_no_evaluation_gives_is_refused() -> None:
    run = trainer(monitor="valid_acuracy")
    with pytest.raises(
        KeyError, match=r"no evaluation gives 'valid_acuracy'\. Did you mean 'valid_accuracy'"
    ):
        run.fit()
    with pytest.raises(ValueError, match="evaluation named 'dev'"):
        trainer(monitor="dev_loss", patience=1)


def test_learning_rates_have_their_closed_forms() -> None:
    def course(rate: LearningRate) -> list[float]:
        return [rate.factor(t, steps=10, steps_per_epoch=2) for t in range(10)]

    assert course(LearningRate()) == [1.0] * 10
    assert course(LearningRate("step", milestones=(2, 4), gamma=0.1)) == pytest.approx(
        [1] * 4 + [0.1] * 4 + [0.01] * 2
    )
    assert course(LearningRate("cosine")) == pytest.approx(
        [(1 + math.cos(math.pi * t / 10)) / 2 for t in range(10)]
    )
    assert course(LearningRate("inverse-sqrt", warmup_steps=4))[:5] == pytest.approx(
        [0.25, 0.5, 0.75, 1, (4 / 5) ** 0.5]
    )
    with pytest.raises(ValueError, match="Did you mean 'cosine'"):
        LearningRate("cosinus")


def test_the_teachers_learning_rate_follows_the_students_unless_told() -> None:
    run = trainer(epochs=2)
    own = trainer(epochs=2, teacher_learning_rate=LearningRate())
    for one in (run, own):
        one.fit()
    rates = [r.reweighter.teacher_optimizer.param_groups[0]["lr"] for r in (run, own)]  # type: ignore[union-attr]
    assert rates[0] == pytest.approx(0.01 * run.reweighter.optimizer.param_groups[0]["lr"] / 0.1)
    assert rates[1] == 0.01


def test_evaluate_is_in_eval_mode_and_puts_the_mode_back() -> None:
    module = Dropped().double()
    student = mw.Student(module)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    one = batch(SHAPE, 50, 3)
    result = evaluate(student, [one])
    assert module.training
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    module.eval()
    logits = module(*one.inputs).detach()
    assert result["accuracy"] == pytest.approx(100 * float((logits.argmax(1) == one.targets).double().mean()))
    assert result["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, one.targets)), rel=1e-12)


def test_options_that_do_not_go_together() -> None:
    made = trainer()
    with pytest.raises(ValueError, match="needs a meta set"):
        Trainer(made.reweighter, Batches(3, 1), epochs=2)
    with pytest.raises(ValueError, match="evaluation named 'valid'"):
        Trainer(made.reweighter, Batches(3, 1), Batches(2, 2), epochs=2, patience=2)
    with pytest.raises(ValueError, match="epochs"):
        Trainer(made.reweighter, Batches(3, 1), Batches(2, 2), epochs=0)
    with pytest.raises(ValueError, match="takes a path"):
        made.resume()


def test_checkpoints_that_cannot_be_used(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    trainer(folder, epochs=2).fit()
    path = folder.path / "checkpoint.pt"
    with pytest.raises(
        CheckpointError, match=r"another architecture: teacher is DeepMLP there and SurfaceTeacher"
    ):
        trainer(name="surface", epochs=2).resume(path)
    with pytest.raises(CheckpointError, match="epochs is 2 there and 4"):
        trainer(epochs=4).resume(path)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        trainer(epochs=2).resume(tmp_path / "nothing.pt")
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 20):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="truncated"):
            trainer(epochs=2).resume(path)
    torch.save({"format": 99}, path)
    with pytest.raises(CheckpointError, match=r"format 99, this version reads up to 3: upgrade"):
        trainer(epochs=2).resume(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="no metaweight checkpoint"):
        trainer(epochs=2).resume(path)


def test_a_failed_save_leaves_the_old_checkpoint_whole(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"a": torch.ones(2)}, {})
    before = path.read_bytes()
    with pytest.raises(Exception, match=r"Can't (pickle|get) local object"):
        checkpoint.save(path, {"a": lambda: None}, {})
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt"]
    assert torch.equal(checkpoint.load(path, {})["a"], torch.ones(2))


def test_steps_are_logged_as_json(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    trainer(folder, epochs=1, warmup_epochs=0).fit()
    rows = [json.loads(line) for line in (folder.path / "steps.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows] == [1, 2, 3]
    assert {"lr", "train_loss", "meta_loss", "weight_mean", "weight_spread", "ess"} <= set(rows[0])


def test_logs_and_weights_wait_for_the_device_once_an_epoch(tmp_path: Path) -> None:
    history, pace = WeightHistory(18, 2), Throughput()
    run = trainer(RunFolder.create(tmp_path / "run", {}), epochs=2, callbacks=(history, pace))
    run.reweighter.live.check_every = 0
    with DeviceReads() as counted:
        run.fit()
    found = [one.partition(":")[0] for one in counted.reads]
    # of each iteration the two before teacher and student move; of each epoch the last report's numbers
    assert found.count("tolist at core/reads.py") == 2 * (2 * 3 + 1)
    assert found.count("cpu at training/callbacks.py") == 2 * 2
    assert pace.rate == 2 * 18 / pace.seconds
    assert bool(history.weights.isfinite().all())
    assert [row["step"] for row in RunFolder.open(run.folder.path).read_steps()] == list(range(1, 7))  # type: ignore[union-attr]
