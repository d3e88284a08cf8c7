"""Noise that looks at the rows: tables by their columns, texts by their words, others not at all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import metaweight as mw
from metaweight.data.rows import of_frame
from metaweight.data.rows.parts import Parts
from metaweight.tasks import tasks
from metaweight.tasks.config import with_options

N = 240
OPTIONS = {"meta_size": 12, "valid_size": 12}


def prepared(task, frame, **options):
    found = Parts("rows", of_frame(frame, "rows"), "label", clean=True)
    with tasks[task].sets.temporarily("rows", lambda: found):
        config = with_options(tasks[task].config(), {"data": "rows", **OPTIONS, **options})
        return tasks[task].prepare(config)


def table():
    draws = np.random.default_rng(0)
    height = draws.normal(size=N) + 8 * (np.arange(N) % 2)
    colour = np.where(np.arange(N) % 2, "red", "blue")
    return pd.DataFrame({"height": height, "colour": colour, "label": [f"class {i // 80}" for i in range(N)]})


def words():
    """Categories alone."""
    sides = np.where(np.arange(N) % 2, "left", "right")
    return pd.DataFrame({"a": sides, "b": sides, "label": [f"class {i // 80}" for i in range(N)]})


def texts():
    words = {"sea": "wave boat sail salt tide", "land": "hill tree road barn dust"}
    draws = np.random.default_rng(0)
    topics = ["sea", "land"] * (N // 2)
    return pd.DataFrame(
        {
            "text": [" ".join(draws.choice(words[topic].split(), 8)) for topic in topics],
            "label": [f"class {i // 80}" for i in range(N)],
        }
    )


@pytest.mark.parametrize(("task", "frame"), [("tabular", table()), ("tabular", words()), ("text", texts())])
def test_a_region_of_rows_is_one_of_rows_that_are_alike(task, frame):
    """All sets fall into two groups, each of them more than a third: no wrong label is in the other one."""
    found = prepared(task, frame, noise="region", noise_rate=1.0)
    train = found.splits.train
    wrong = train[found.spoilt.flipped]
    group = torch.arange(N) % 2
    assert len(wrong) == round(len(train) / 3)
    assert len(group[wrong].unique()) == 1
    assert len(found.right[wrong].unique()) == 3  # whatever the class
    assert (found.given[wrong] != found.right[wrong]).all()
    for part in (found.splits.meta, found.splits.valid):
        assert torch.equal(found.given[part], found.right[part])


@pytest.mark.parametrize(("task", "frame"), [("tabular", table()), ("text", texts())])
@pytest.mark.parametrize("kind", ["cluster", "instance"])
def test_other_noise_of_images_is_one_of_rows_too(task, frame, kind):
    found = prepared(task, frame, noise=kind, noise_rate=0.8)
    again = prepared(task, frame, noise=kind, noise_rate=0.8)
    assert 0.1 < found.spoilt.realised < 0.9
    assert torch.equal(found.given, again.given)
    assert not torch.equal(found.given, prepared(task, frame, noise=kind, noise_rate=0.8, seed=1).given)


def test_rows_that_are_no_points_have_no_such_noise():
    rows = [(torch.zeros(2), 0), (torch.ones(2), 1)] * 20
    with pytest.raises(ValueError, match=r"looks at the rows \(cluster, instance, region\) is one of tables"):
        mw.fit(torch.nn.Linear(2, 2), rows, rows[:4], noise="region")
