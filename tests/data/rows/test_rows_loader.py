"""Batches of rows: each once an epoch, of nearly one size, the same for the same seed."""

from __future__ import annotations

import pytest
import torch

from metaweight.data.rows.loader import RowsLoader, TensorRows


def loader(rows: int = 23, **options: object) -> RowsLoader:
    """Of the rows 2 and on; index says 100 more than the target."""
    x = torch.arange(-2, rows, dtype=torch.float32)[:, None]
    index, positions = 100 + torch.arange(rows), 2 + torch.arange(rows)
    inputs, targets = TensorRows((x, x.long())), torch.arange(-2, rows)
    return RowsLoader(inputs, targets, positions, index=index, **{"batch_size": 10, **options})


def test_every_row_comes_once_an_epoch_and_no_batch_is_left_small() -> None:
    batches = list(loader())
    assert [len(batch) for batch in batches] == [7, 8, 8]
    seen = torch.cat([batch.targets for batch in batches])
    assert sorted(seen.tolist()) == list(range(23))
    for batch in batches:
        assert torch.equal(batch.index, 100 + batch.targets)
        assert torch.equal(batch.args[0][:, 0].long(), batch.targets)
        assert torch.equal(batch.args[1][:, 0], batch.targets)


def test_a_batch_depends_on_seed_epoch_and_position_alone() -> None:
    one, other = loader(seed=3), loader(seed=3)
    list(one)
    assert torch.equal(one.batch(5, 1).index, other.batch(5, 1).index)
    assert not torch.equal(one.batch(5, 1).index, one.batch(6, 1).index)
    assert not torch.equal(one.batch(5, 1).index, loader(seed=4).batch(5, 1).index)
    still = loader(shuffle=False)
    assert torch.cat([batch.targets for batch in still]).tolist() == list(range(23))


def test_mistakes_are_named() -> None:
    two = TensorRows((torch.ones(2, 1),))
    with pytest.raises(ValueError, match="1 or more, got 2, 3, 3, 3"):
        RowsLoader(two, torch.ones(3), torch.arange(3), batch_size=2)
    with pytest.raises(ValueError, match="1 or more, got 2, 2, 0, 0"):
        RowsLoader(two, torch.ones(2), torch.arange(0), batch_size=2)
    with pytest.raises(ValueError, match="batch_size is 1 or more, got 0"):
        loader(batch_size=0)
    with pytest.raises(IndexError, match=r"batches 0\.\.2"):
        loader().batch(0, 3)
