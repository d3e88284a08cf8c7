"""Rows of different lengths: padded to the longest of those that are picked, and to no more."""

import torch

from metaweight.data.rows.loader import IGNORED, RowsLoader
from metaweight.data.text.padded import MaskedRows, PaddedRows, Ragged, rows_at_once

ROWS = [[5, 6], [7], [], [8, 9, 70_000]]


def test_rows_are_padded_to_the_longest_of_the_selection() -> None:
    ragged = Ragged.of(ROWS, padding=4)
    ids, real = ragged.padded(torch.tensor([1, 0, 1]))
    assert ids.tolist() == [[7, 4], [5, 6], [7, 4]]
    assert ids.dtype == torch.int64
    assert real.tolist() == [[True, False], [True, True], [True, False]]
    assert ragged.padded(torch.tensor([3]))[0].tolist() == [[8, 9, 70_000]]
    assert ragged.padded(torch.tensor([2, 1]))[0].tolist() == [[4], [7]]
    assert ragged.lengths.tolist() == [2, 1, 0, 3]


def test_small_numbers_take_two_bytes() -> None:
    assert Ragged.of([[1, 32_767]]).flat.dtype == torch.int16
    assert Ragged.of(ROWS).flat.dtype == torch.int32
    assert len(Ragged.of([])) == 0


def test_bags_are_padded_too() -> None:
    rows = PaddedRows(Ragged.of_bags([[[1, 2], [3]], [[4, 5]]]))
    (ids,) = rows.select(torch.tensor([1, 0]))
    assert ids.tolist() == [[[4, 5], [0, 0]], [[1, 2], [3, 0]]]


def test_a_mask_says_what_is_real_whatever_the_padding_is() -> None:
    rows = MaskedRows(Ragged.of([[3, 3], [3]], padding=3), places=Ragged.of([[1], [0]], padding=-1))
    picked = rows.select(torch.tensor([0, 1]))
    assert picked["input_ids"].tolist() == [[3, 3], [3, 3]]
    assert picked["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert picked["places"].tolist() == [[1], [0]]


def test_long_rows_are_measured_few_at_a_time() -> None:
    assert rows_at_once(Ragged.of([[1]])) > rows_at_once(Ragged.of([[1] * 512])) == 128
    assert rows_at_once(Ragged.of([[1] * 100_000])) == 16


def test_targets_of_tokens_are_as_wide_as_their_batch() -> None:
    inputs = PaddedRows(Ragged.of([[1, 2], [3], [4, 5, 6]]))
    targets = torch.full((3, 4), IGNORED)
    for row, length in enumerate((2, 1, 3)):
        targets[row, :length] = row
    loader = RowsLoader(inputs, targets, torch.tensor([0, 1]), batch_size=2, shuffle=False)
    batch = loader.batch(0, 0)
    assert batch.targets.tolist() == [[0, 0], [1, IGNORED]]
    assert batch.args[0].shape == batch.targets.shape
