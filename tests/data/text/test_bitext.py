from __future__ import annotations

import dataclasses

import pytest
import torch

from metaweight.data.text import Bitext

PAIRS = Bitext(("a", "b", "c"), ("A", "B", "C"))


def test_pairs_are_picked_in_the_order_asked_for_and_may_repeat():
    expected = Bitext(("c", "a", "c"), ("C", "A", "C"))
    assert PAIRS.select([2, 0, 2]) == expected
    assert PAIRS.select(torch.tensor([2, 0, 2])) == expected
    assert PAIRS.select(torch.tensor([2, 0, 2], dtype=torch.int32)) == expected
    assert len(PAIRS.select([])) == len(PAIRS.select(torch.tensor([], dtype=torch.int64))) == 0


def test_join_puts_the_other_behind():
    joined = PAIRS.join(Bitext(("d",), ("D",)))
    assert (len(joined), joined.source, joined.target) == (4, ("a", "b", "c", "d"), ("A", "B", "C", "D"))
    assert joined.select(range(3)) == PAIRS


def test_lists_become_tuples_and_nothing_can_be_changed():
    made = Bitext(["a"], ["b"])
    assert made == Bitext(("a",), ("b",))
    assert hash(made) == hash(Bitext(("a",), ("b",)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.source = ()


def test_sides_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="2 source and 1 target sentences"):
        Bitext(("a", "b"), ("A",))
    with pytest.raises(TypeError, match=r"target is a sequence of sentences, got one string: 'A'"):
        Bitext(("a",), "A")


@pytest.mark.parametrize(
    ("positions", "error", "complaint"),
    [
        ([3], IndexError, "3 pairs has no position 3"),
        (torch.tensor([0, -1]), IndexError, "no position -1"),
        (torch.tensor([True, False, True]), TypeError, "torch.bool"),
        (torch.tensor([0.0]), TypeError, "torch.float32"),
        (torch.tensor([[0]]), ValueError, r"shape \[n\], got \(1, 1\)"),
        (torch.tensor(0), ValueError, r"got \(\)"),
    ],
)
def test_positions_that_are_none_are_refused(positions, error, complaint):
    with pytest.raises(error, match=complaint):
        PAIRS.select(positions)
