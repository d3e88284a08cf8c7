"""The suite of whole runs: its one-step signals, its parts and its tables."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import torch

import metaweight as mw
from benchmarks.influence import cost, run, smooth
from benchmarks.influence.believed import Believed, Subject, believed, config_of, plain_of
from metaweight.tasks import tasks


def digits(width: int, **options: Any) -> Subject:
    """One hidden layer, one epoch."""
    chosen = {**run.SUBJECTS["mlp"].options, "model_options": {"width": width}, "epochs": 1, **options}
    return Subject("mlp", "image", chosen)


def test_of_a_run_of_one_step_one_step_ahead_is_the_whole_run() -> None:
    subject = digits(8, batch_size=1202)
    config = config_of(subject, "uniform@0.4", 0)
    task = tasks["image"]
    prepared = task.prepare(config)
    meta = task.batches(config, prepared, task.pool(config, prepared).meta, training=False)
    built, source = task.build(config, prepared), task.sources(config, prepared).train
    assert len(source) == 1
    whole = mw.WholeRun(built.student, source, built.optimizer, epochs=1)
    expected = whole.influence(meta).values
    found = plain_of(config, prepared).one_step(meta.batch(0, 0))[: len(expected)]
    seen = ~expected.isnan()
    assert torch.allclose(found[seen], expected[seen], rtol=1e-4, atol=1e-9)
    assert not found[~seen].any()


@pytest.mark.parametrize("low", [False, True])
def test_what_is_timed_is_one_and_the_same_training(low: bool, tmp_path: Path) -> None:
    kind = cost.subject("mlp")
    source = cost._batches(kind, 4, 3)
    module = cost._plain(kind, source)
    recorded = cost._run(kind, source, str(tmp_path), low)
    recorded.record()
    there = dict(recorded.student.module.named_parameters())
    assert all(torch.allclose(p, there[name], rtol=1e-5, atol=1e-7) for name, p in module.named_parameters())


def test_a_row_for_each_student() -> None:
    rows = [cost.Cost("mlp", 100, 36, 0.0021, 1.04, 4.31, 4.5, 2**21, 3 * 2**20, 5 * 2**19, 2**20)]
    table = run.cost_table(rows, run.Options(what="cost"))
    assert "| mlp | 2.1 | 1.04 | 4.31 | 4.50 | 2 | 3 | 2 | 1.0 |" in table
    assert "36 steps" in table


def test_scores_are_believed_by_retrainings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.influence.believed.TEACHERS", ())
    found = believed(digits(4), "uniform@0.4", 0, subsets=3, jobs=1)
    assert isinstance(found, Believed)
    assert {score.name for score in found.certificate.scores} == {"influence", "one step at a time", "random"}
    table = run.credibility_table([found], run.Options())
    rows = list(csv.reader(io.StringIO(table), delimiter="|"))
    assert [row[4].strip() for row in rows[2:5]] == ["influence", "one step at a time", "random"]
    assert set(found.aurocs) == {"influence", "one step at a time", "random"}
    assert "over 60 retrainings" in table


def test_what_makes_a_run_smooth_changes_one_thing_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = (
        {**smooth.DIGITS, "model": "mlp", "model_options": {"activation": "relu"}, "lr": 0.1, "epochs": 1},
        (
            smooth.Change("plain"),
            smooth.Change("hot", {"lr": 5.0}),
            smooth.Change("begun elsewhere", start=smooth.biased),
        ),
    )
    monkeypatch.setattr(smooth, "STUDENTS", {"mlp": tried})
    plain, hot, begun = smooth.smooth((), "uniform@0.4", (0,))
    assert plain.score.cosine > 0.95
    assert hot.score.change > 10 * plain.score.change
    assert begun.score.cosine != plain.score.cosine
    assert 10 < plain.accuracy <= 100
    table = smooth.smooth_table([plain], "uniform@0.4", (0, 1))
    assert f"| mlp | plain | {plain.score.cosine:.2f} |" in table
    assert "means over 2 seeds" in table
