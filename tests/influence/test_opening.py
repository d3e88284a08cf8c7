"""A finished run's folder, trained once more and asked: held against the same run written by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_translation
import torch
from opened_runs import OPTIONS, TEACHERS, finished, same_student, trained
from tiny_images import config
from tiny_translation import own_files
from torch import Tensor

import metaweight as mw
from metaweight import tasks
from metaweight.influence import WholeRun, record
from metaweight.influence.steps import Steps
from metaweight.tasks.config import TranslationConfig
from metaweight.teachers.base import registry as teachers
from metaweight.training.learning_rate import LearningRate
from metaweight.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished ones: nobody writes into them."""
    place = tmp_path_factory.mktemp("runs")
    return {name: finished(place / name, name) for name in TEACHERS}


@pytest.fixture
def copied(runs: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(runs[name], tmp_path / name))

    return copy


ASKED: dict[str, Callable[[WholeRun], object]] = {
    "influence": lambda run: run.influence(run.rows()),
    "certify": lambda run: run.certify(
        torch.arange(len(run.steps.weights), dtype=torch.float64), run.rows(), subsets=3, worst=()
    ),
    "smoothness": lambda run: run.smoothness(run.rows(), directions=1),
    "learn": lambda run: run.learn(run.rows(), rounds=1),
}


@pytest.mark.parametrize("what", ASKED)
def test_everything_is_computed_with_as_many_threads_as_the_run_had(
    what: str, copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, before, counted = WholeRun.opened(folder := copied("plain")), torch.get_num_threads(), set()
    then = RunFolder.open(folder).manifest()["threads"]
    assert isinstance(then, int)
    take = Steps.take

    def counting(self: Steps, *args: Any) -> Tensor:
        counted.add(torch.get_num_threads())
        return take(self, *args)

    monkeypatch.setattr(Steps, "take", counting)
    torch.set_num_threads(then + 1)
    try:
        ASKED[what](run)
        assert torch.get_num_threads() == then + 1
    finally:
        torch.set_num_threads(before)
    assert counted == {then}


def by_hand(epochs: int = 3) -> tuple[WholeRun, Any]:
    """The plain run of objects, and its trusted rows."""
    own = config(**OPTIONS, teacher="uniform")
    task = tasks.tasks["image"]
    prepared = task.prepare(own)
    student, source = task.build(own, prepared).student, task.sources(own, prepared).train
    optimizer = torch.optim.SGD(
        student.module.parameters(), lr=own.lr, momentum=own.momentum, weight_decay=own.weight_decay
    )
    course = LearningRate("cosine")
    run = WholeRun(student, source, optimizer, epochs=epochs, learning_rate=course, max_norm=1.0)
    meta = tasks.pooled(task, "image").batches(own, prepared, prepared.splits.meta, training=False)
    return run, meta


def test_a_plain_run_is_the_one_written_by_hand(copied: Callable[[str], Path]) -> None:
    random = torch.get_rng_state()
    run = WholeRun.opened(folder := copied("plain"))
    found = run.influence(run.rows())
    assert torch.equal(torch.get_rng_state(), random)
    assert same_student(run, folder)
    hand, meta = by_hand()
    expected = hand.influence(meta)
    count = len(expected.values)
    assert torch.equal(found.losses, expected.losses)
    assert torch.equal(found.values[:count].nan_to_num(7), expected.values.nan_to_num(7))
    assert bool(found.values[count:].isnan().all())
    again = WholeRun.opened(folder)
    assert again.recording.whole
    assert torch.equal(again.influence(again.rows()).values.nan_to_num(7), found.values.nan_to_num(7))


@pytest.mark.parametrize("teacher", ["mlp", "mw-net"])
def test_a_teachers_run_is_taken_again_with_its_weights(teacher: str, copied: Callable[[str], Path]) -> None:
    run = WholeRun.opened(folder := copied(teacher))
    run.record()
    assert same_student(run, folder)
    kept = RunFolder.open(folder).read_weights()
    visits, steps = run.steps.visits, run.steps
    assert visits is not None
    for step in range(len(steps)):
        epoch, _ = steps.place(step)
        at = torch.searchsorted(kept.index.sort().values, steps.batch(step).index)
        ordered = kept.weights[epoch][kept.index.argsort()]
        assert torch.equal(visits.of(step).weights, ordered[at])
    assert visits.of(8).weights.std() > 0


def test_a_teachers_run_is_the_engine_reverse_over_all_steps(copied: Callable[[str], Path]) -> None:
    """With the recorded weights and a little more of each sample; in float32, hence the tolerance."""
    run = WholeRun.opened(copied("mlp"))
    found = run.influence(run.rows(), mode="train")
    hand, meta = by_hand()
    steps = run.steps
    assert steps.visits is not None
    train = [hand.source.batch(*steps.place(step)) for step in range(len(steps))]
    more = torch.zeros(len(found.values), requires_grad=True)

    def weigh(state: mw.StudentState) -> Tensor:
        (step,) = [n for n, batch in enumerate(train) if torch.equal(batch.index, state.index)]
        return steps.visits.of(step).weights + more[state.index]  # type: ignore[union-attr]

    expected = mw.hypergradient(
        hand.student,
        hand.optimizer,
        train,
        meta.batch(0, 0),
        weigh,
        [more],
        mw.engines.Reverse("snapshots"),
        rates=[steps.rates.at(step) for step in range(len(steps))],
        max_norm=1.0,
    ).grads[0]
    off = found.values.nan_to_num(0) - expected
    assert float(off.norm()) <= 1e-4 * float(expected.norm())


@pytest.mark.parametrize("name", ["plain", "mlp"])
def test_one_that_was_killed_goes_on(
    name: str, copied: Callable[[str], Path], runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "PAUSE", 0.0)
    folder = copied(name)

    def kill(done: int, of: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WholeRun.opened(folder).record(kill)
    told: list[int] = []
    run = WholeRun.opened(folder)
    run.record(lambda done, of: told.append(done))
    assert told == [9]
    found = run.influence(run.rows())
    shutil.rmtree(folder / "whole")
    whole = WholeRun.opened(folder)
    assert torch.equal(found.values.nan_to_num(7), whole.influence(whole.rows()).values.nan_to_num(7))


def test_as_many_threads_as_then_for_the_time_of_it(copied: Callable[[str], Path]) -> None:
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(before + 1)
    try:
        WholeRun.opened(copied("plain")).record(lambda done, of: seen.append(torch.get_num_threads()))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {before}


def test_a_run_that_stopped_early_keeps_its_course(tmp_path: Path) -> None:
    own = config(**{**OPTIONS, "lr": 1e-6, "epochs": 5}, teacher="uniform", patience=1)
    run = WholeRun.opened(trained(tmp_path / "run", own))
    run.record()
    assert len(run.steps) == 6
    assert run.steps.rates.at(5) == [1e-6 * LearningRate("cosine").factor(5, steps=15, steps_per_epoch=3)]


@pytest.mark.slow
def test_masks_of_attention_and_a_teacher_that_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines write attention out, whose masks are others; what a teacher draws moves those that follow."""
    kind = teachers["mlp"]
    asked = kind.forward

    def draws(self: Any, state: mw.StudentState) -> Tensor:
        torch.rand(1)
        weights: Tensor = asked(self, state)
        return weights

    monkeypatch.setattr(kind, "forward", draws)
    files = {name: str(path) for name, path in own_files(tmp_path).items()}
    options = {**tiny_translation.OPTIONS, "warmup_epochs": 1, "teacher": "mlp", "engine": "double"}
    folder = trained(tmp_path / "run", TranslationConfig(**files, **options))
    run = WholeRun.opened(folder)
    found = run.influence(run.rows("valid"))
    assert same_student(run, folder)
    assert int(found.values.isfinite().sum()) == 60


def test_a_run_of_objects_has_no_rows_of_its_own() -> None:
    with pytest.raises(ValueError, match="given as objects"):
        by_hand()[0].rows()
