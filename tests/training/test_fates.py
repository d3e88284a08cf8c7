"""What became of wrong labels, counted by hand."""

from __future__ import annotations

import math

import pytest
import torch

from metaweight.training.fates import fates
from metaweight.training.sample_weights import SampleWeights

CLEAN = torch.tensor([0, 0, 1, 1, 2, 2, 2, 0])
GIVEN = torch.tensor([1, 2, 2, 0, 2, 2, 2, 0])  # the first four are wrong
SAYS = torch.tensor([1, 0, 1, 2, 2, 2, 1, 0])  # learnt, right, right, a third; right labels: 3 of 4
WEIGHTS = torch.tensor([0.5, 0.5, 1.0, math.nan, 2.0, 2.0, 1.0, 1.0])


def test_shares_are_those_counted_by_hand() -> None:
    found = fates(SAYS, GIVEN, CLEAN, WEIGHTS)
    assert found is not None
    assert (found.learnt, found.corrected, found.other, found.kept) == (0.25, 0.5, 0.25, 0.75)
    assert found.weight == 2.0 / 8.0


def test_nothing_is_said_where_no_label_is_wrong_and_none_where_there_is_no_share() -> None:
    assert fates(SAYS, CLEAN, CLEAN, WEIGHTS) is None
    found = fates(SAYS, (CLEAN + 1) % 3, CLEAN, torch.full((8,), math.nan))
    assert found is not None
    assert (found.kept, found.weight) == (None, None)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"are all \[n\], got \(8,\), \(8,\), \(7,\), \(8,\)"):
        fates(SAYS, GIVEN, CLEAN[:7], WEIGHTS)


def test_a_run_says_what_became_of_its_labels_where_it_kept_enough() -> None:
    rows = torch.stack([WEIGHTS, WEIGHTS])
    said = torch.nn.functional.one_hot(SAYS, 3).float()
    whole = {"index": torch.arange(8), "weights": rows, "loss": rows, "given": GIVEN, "clean": CLEAN}
    assert SampleWeights(**whole, probabilities=said).fates() == fates(SAYS, GIVEN, CLEAN, WEIGHTS)
    assert SampleWeights(**whole).fates() is None
    broken = said.clone()
    broken[5] = math.nan
    assert SampleWeights(**whole, probabilities=broken).fates() is None
    del whole["clean"]
    assert SampleWeights(**whole, probabilities=said).fates() is None
