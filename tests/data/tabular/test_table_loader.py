"""Batches of rows: each once an epoch, of nearly one size, the same for the same seed."""

from __future__ import annotations

import pytest
import torch

from metaweight.data.tabular import TableLoader


def loader(rows: int = 23, **options: object) -> TableLoader:
    x = torch.arange(rows, dtype=torch.float32)[:, None]
    return TableLoader(
        (x, x.long()), torch.arange(rows), 100 + torch.arange(rows), **{"batch_size": 10, **options}
    )


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
    with pytest.raises(ValueError, match=r"one length, 1 or more, got \[2, 3, 3\]"):
        TableLoader((torch.ones(2, 1),), torch.ones(3), torch.arange(3), batch_size=2)
    with pytest.raises(ValueError, match="batch_size is 1 or more, got 0"):
        loader(batch_size=0)
    with pytest.raises(IndexError, match=r"batches 0\.\.2"):
        loader().batch(0, 3)
