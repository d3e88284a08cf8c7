"""Remedies on the meta set, and early stopping: what is trained on, and which student is handed out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from metaweight import remedies
from metaweight.comparison.cells import alone, keep
from metaweight.core.contracts import Batch, StepReport
from metaweight.remedies import Course
from metaweight.tasks import Pool, run, tasks
from metaweight.tasks.config import ImageConfig
from metaweight.training.callbacks import Callback, Run
from metaweight.training.evaluation import evaluate
from metaweight.training.run_folder import RunFolder


class Seen(Callback):
    """Which samples each stage is trained on, and in how many steps."""

    def __init__(self) -> None:
        self.stages: list[tuple[set[int], int]] = []

    def on_start(self, run: Run) -> None:
        self.stages.append((set(), 0))

    def on_step(self, run: Run, batch: Batch, report: StepReport) -> None:
        samples, steps = self.stages[-1]
        self.stages[-1] = samples | set(batch.index.tolist()), steps + 1


Expected = Callable[[Pool], list[tuple[torch.Tensor, int]]]


@pytest.mark.parametrize(
    ("remedy", "expected"),
    [
        ("meta-only", lambda pool: [(pool.meta, 6)]),
        ("with-meta", lambda pool: [(torch.cat([pool.train, pool.meta]), 8)]),
        ("clean-and-meta", lambda pool: [(torch.cat([pool.train[~pool.flipped], pool.meta]), None)]),
        ("fine-tune", lambda pool: [(pool.train, 6), (pool.meta, 3)]),
    ],
)
def test_what_each_stage_is_trained_on(remedy: str, expected: Expected, digits: ImageConfig) -> None:
    # batches of 1 in the third case leave no sample out
    config = replace(digits, remedy=remedy, batch_size=1 if remedy == "clean-and-meta" else 20, epochs=2)
    config = replace(config, remedy_options={"epochs": 3} if remedy == "fine-tune" else {})
    config = replace(config, model_options={"width": 4, "norm": "group"})
    prepared, seen = tasks["image"].prepare(config), Seen()
    remedies.run(config, prepared=prepared, callbacks=(seen,))
    wanted = expected(tasks["image"].pool(config, prepared))  # type: ignore[attr-defined]
    assert len(seen.stages) == len(wanted)
    for (samples, steps), (positions, count) in zip(seen.stages, wanted, strict=True):
        assert samples == set(positions.tolist())
        assert steps == (2 * len(positions) if count is None else count)


def test_the_meta_set_is_cycled_anew_in_each_epoch(digits: ImageConfig) -> None:
    course = Course(digits, tasks["image"].prepare(replace(digits, meta_size=40)))
    remedy = remedies.build_remedy(replace(digits, remedy="meta-only"))
    assert remedy is not None
    source = remedy.last(course).source
    assert source is not None
    batches = [source.batch(epoch, position).index for epoch in (0, 1) for position in range(3)]
    # two batches are the whole set
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        assert set(torch.cat([first, second]).tolist()) == set(course.pool.meta.tolist())
    assert not torch.equal(batches[0], batches[2])


def test_fine_tuning_begins_at_the_plain_student(digits: ImageConfig, tmp_path: Path) -> None:
    options = {"epochs": 1, "lr_factor": 1e-30}
    config = replace(digits, remedy="fine-tune", remedy_options=options)
    remedies.run(config, RunFolder.create(tmp_path / "tuned", {}))
    run(digits, RunFolder.create(tmp_path / "plain", {}))
    tuned, plain = (student_of(tmp_path / name) for name in ("tuned", "plain"))
    names = [name for name in plain if name.endswith(("weight", "bias"))]
    assert names
    assert all(torch.equal(tuned[name], plain[name]) for name in names)


def student_of(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path / "checkpoint.pt", weights_only=True)["state"][
        "reweighter"
    ]["student"]
    return state


@pytest.mark.parametrize(("patience", "of_run"), [(None, None), (1, None), (None, 1)])
def test_early_stopping_hands_out_the_best_student(
    patience: int | None, of_run: int | None, digits: ImageConfig, tmp_path: Path
) -> None:
    # a learning rate at which the student does not get better in every epoch
    config = replace(
        digits, epochs=6, lr=0.5, lr_schedule="constant", remedy="early-stopping", patience=of_run
    )
    config = replace(config, remedy_options={} if patience is None else {"patience": patience})
    prepared = tasks["image"].prepare(config)
    outcome = remedies.run(config, RunFolder.create(tmp_path / "run", {}), prepared=prepared)
    rows = outcome.history.epochs
    scores = [row["valid_accuracy"] for row in rows]
    best = scores.index(max(scores))
    assert best < len(rows) - 1  # else the test could not fail
    assert len(rows) == (best + 2 if patience or of_run else 6)
    assert outcome.cost == pytest.approx(len(rows) / 6, rel=1e-12)
    assert outcome.figures["accuracy"] == rows[best]["test_accuracy"]
    result = keep(alone(config, "run"), tmp_path, outcome, cost=None)
    assert (result.epoch, result.row) == (best + 1, rows[best])
    said = f"test accuracy, epoch {best + 1}, whose student is handed out"
    assert tasks["image"].presentation.of_run(result)[0] == (said, f"{rows[best]['test_accuracy']:.2f} %")
    student: Any = tasks["image"].build(config, prepared).student
    student.module.load_state_dict(student_of(tmp_path / "run"))
    batches = tasks["image"].evaluation(config, prepared).batches
    for split in ("valid", "test"):
        assert evaluate(student, batches[split])["accuracy"] == rows[best][f"{split}_accuracy"]
