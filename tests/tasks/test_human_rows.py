"""Noise ``human`` of rows: the labels that people gave, of a set that brings them beside the right ones."""

from __future__ import annotations

import pandas as pd
import pytest

from metaweight.data.rows import of_frame
from metaweight.data.rows.parts import Parts, without_training
from metaweight.tasks import tasks
from metaweight.tasks.config import with_options
from metaweight.tasks.tabular.sets import tables

RIGHT = ["a", "b"] * 20
GIVEN = ["a", "a"] * 20


def parts(human):
    frame = pd.DataFrame({"x": range(40), "label": RIGHT})
    return Parts("forty", of_frame(frame, "forty"), "label", clean=True, human=human)


def prepared(human, **options):
    task = tasks["tabular"]
    config = with_options(
        task.config(), {"data": "forty", "meta_size": 4, "valid_size": 4, "noise": "human", **options}
    )
    with tables.temporarily("forty", lambda: parts(human)):
        return task.prepare(config)


def test_training_rows_have_the_labels_that_people_gave_and_trusted_ones_the_right_ones():
    found = prepared(GIVEN)
    names = found.targets.classes
    train = found.splits.train.tolist()
    assert [names[int(code)] for code in found.given[train]] == [GIVEN[row] for row in train]
    assert [names[int(code)] for code in found.right[train]] == [RIGHT[row] for row in train]
    for part in (found.splits.meta, found.splits.valid):
        assert found.given[part].tolist() == found.right[part].tolist()
    assert found.spoilt.flipped.tolist() == [GIVEN[row] != RIGHT[row] for row in train]
    assert found.spoilt.realised == pytest.approx(0.5, abs=0.07)


def test_a_set_without_such_labels_says_so():
    with pytest.raises(ValueError, match="brings none"):
        prepared(None)


def test_rows_that_are_left_out_take_their_labels_along():
    gone = pd.Series([True] + [False] * 39).to_numpy()
    numbered = [str(number) for number in range(40)]
    assert list(without_training(parts(numbered), gone, "no").human) == numbered[1:]
