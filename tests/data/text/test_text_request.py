from __future__ import annotations

import pytest
from text_sets import assert_apart, sizes

from metaweight.data.text import Bitext, TextRequest, TextSet


def pairs(first: int, last: int) -> Bitext:
    return Bitext(*zip(*[(f"d{number} d", f"e{number} e") for number in range(first, last)], strict=True))


SPLITS = {"train": pairs(0, 30), "valid": pairs(30, 40), "test": pairs(40, 50)}


def cut(*, meta_size=6, train_size=None, valid_size=None, test_size=None, seed=0) -> TextSet:
    asked = TextRequest("made", None, None, train_size, meta_size, valid_size, test_size, seed)
    return asked.with_splits("Made", SPLITS, languages=("de", "en"), source="")


def test_own_splits_are_kept_and_only_the_meta_set_is_drawn():
    made = cut()
    assert (made.name, sizes(made)) == ("Made de-en", [24, 6, 10, 10])
    assert (made.valid, made.test) == (SPLITS["valid"], SPLITS["test"])
    assert_apart(made)
    assert not made.clean


def test_sizes_cut_the_own_splits_from_their_beginning():
    made = cut(train_size=9, valid_size=3, test_size=4)
    assert sizes(made) == [9, 6, 3, 4]
    assert (made.valid, made.test) == (pairs(30, 33), pairs(40, 44))


def test_the_training_size_does_not_move_the_meta_set():
    assert cut(train_size=9).meta == cut().meta


def test_another_seed_draws_other_pairs_to_train_on_and_to_trust():
    one, other = cut(train_size=9), cut(train_size=9, seed=1)
    assert other.meta != one.meta
    assert other.train != one.train
    assert other.test == one.test


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"test_size": 11}, "test_size is at most 10, all pairs of the split, got 11"),
        ({"meta_size": 31}, "meta 31 are 31 pairs, the bitext has 30"),
        ({"meta_size": 30}, "the training set is empty"),
        ({"meta_size": 10, "train_size": 21}, "meta 10, train 21 are 31 pairs, the bitext has 30"),
    ],
)
def test_more_pairs_than_there_are_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        cut(**options)
