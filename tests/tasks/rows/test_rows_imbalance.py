"""Imbalance of labelled rows: classes of training rows are thinned out before wrong labels are put in."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

import metaweight as mw
from metaweight.data.rows import of_frame
from metaweight.data.rows.parts import Parts
from metaweight.tasks import tasks
from metaweight.tasks.config import with_options

N = 330


def prepared(task="tabular", label=None, **options):
    label = [f"class {i % 3}" for i in range(N)] if label is None else label
    frame = pd.DataFrame({"x": range(N), "text": [f"word {i % 7}" for i in range(N)], "label": label})
    found = Parts("rows", of_frame(frame, "rows"), "label", clean=True)
    with tasks[task].sets.temporarily("rows", lambda: found):
        config = with_options(
            tasks[task].config(), {"data": "rows", "meta_size": 12, "valid_size": 18, **options}
        )
        return tasks[task].prepare(config)


def counts(found, part="train", values="right"):
    return getattr(found, values)[getattr(found.splits, part)].long().bincount(minlength=3).tolist()


@pytest.mark.parametrize("task", ["tabular", "text"])
def test_a_long_tail_thins_out_the_training_rows_alone(task):
    found = prepared(task, imbalance="long-tail", imbalance_ratio=25.0)
    assert counts(found) == [100, 20, 4]
    assert counts(found, "meta") == [4] * 3
    assert min(counts(found, "valid")) >= 5
    assert found.left_out.reasons == ("taken by imbalance long-tail",) * 176
    gone = {origin.row for origin in found.left_out.origins}
    kept = {found.origins[place].row for place in used(found).tolist()}
    assert gone | kept == set(range(1, N + 1))
    assert not gone & kept


def used(found):
    return torch.cat([found.splits.train, found.splits.meta, found.splits.valid])


def test_what_is_beyond_the_train_size_is_said_beside_what_imbalance_takes():
    found = prepared(imbalance="step", imbalance_ratio=4.0, train_size=120)
    first, second, third = counts(found)
    assert first == second
    assert third == first // 4
    assert 30 < first <= 40
    assert found.left_out.reasons.count("beyond train_size 120") == 180
    assert found.left_out.reasons.count("taken by imbalance step") == 120 - first - second - third


def test_noise_is_of_what_is_left():
    found = prepared(imbalance="long-tail", imbalance_ratio=25.0, noise="flip", noise_rate=1.0)
    assert len(found.spoilt.flipped) == 124
    assert found.spoilt.flipped.all()


def test_two_classes_by_one_output_can_be_rare_too():
    found = prepared(
        label=[i % 2 for i in range(N)], target="one-logit", imbalance="step", imbalance_ratio=5.0
    )
    assert counts(found)[:2] == [150, 30]


def test_numbers_have_no_classes_to_thin_out():
    with pytest.raises(ValueError, match="'step' is one of classes; targets here are number"):
        prepared(label=[i / 7 for i in range(N)], imbalance="step")


def test_an_unknown_kind_is_named_with_its_nearest():
    with pytest.raises(ValueError, match=r"unknown imbalance 'long-tale'\. Did you mean 'long-tail'"):
        prepared(imbalance="long-tale")
    rows = pd.DataFrame({"x": range(20), "label": ["a", "b"] * 10})
    with pytest.raises(ValueError, match="unknown imbalance"):
        mw.fit("tabular-mlp", rows, rows[:4], label="label", imbalance="long-tale")
