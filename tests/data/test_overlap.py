"""Meta rows that are training rows too, in torch DataLoaders and in any iterables."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    Sampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import metaweight as mw
from metaweight.core.contracts import Batch
from metaweight.data import Indexed, collate
from metaweight.data.overlap import RowWatch, fingerprints, positions

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 3
BASE = TensorDataset(X, Y)


def loader(dataset: Dataset[Any], sampler: Sampler[int] | None = None, size: int = 4) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size=size, sampler=sampler, collate_fn=collate)


WHOLE = Indexed(BASE)
VIEWS: dict[str, Callable[[range], DataLoader[Any]]] = {
    "subset": lambda rows: loader(Subset(WHOLE, rows)),
    "list": lambda rows: loader(Subset(WHOLE, list(rows))),
    "nested": lambda rows: loader(Subset(Subset(WHOLE, range(39, -1, -1)), [39 - i for i in rows])),
    "indexed-anew": lambda rows: loader(Subset(Indexed(BASE), rows)),
    "sampler": lambda rows: loader(WHOLE, SubsetRandomSampler(list(rows))),
    "within": lambda rows: loader(Indexed(Subset(BASE, rows))),
}


@pytest.mark.parametrize("train", VIEWS)
@pytest.mark.parametrize("meta", VIEWS)
def test_shared_positions_of_one_data_set_are_refused_at_once(train: str, meta: str) -> None:
    ours = VIEWS[train](range(30))
    assert len(list(mw.pairs(ours, VIEWS[meta](range(30, 40))))) == 8
    with pytest.raises(ValueError, match=r"share 3 samples \(positions 27, 28, 29\); make them disjoint"):
        mw.pairs(ours, VIEWS[meta](range(27, 40)))


def test_a_sampler_that_does_not_tell_leaves_it_to_the_rows() -> None:
    weighted = loader(WHOLE, WeightedRandomSampler([1.0] * 10 + [0.0] * 30, 20))
    assert positions(weighted) is None
    apart = VIEWS["subset"](range(10, 20))
    assert len(list(mw.pairs(weighted, apart))) == 5
    with pytest.warns(UserWarning, match=r"\d of \d+ different meta rows"):
        list(mw.pairs(weighted, VIEWS["subset"](range(0, 20))))


def rows(*numbers: int) -> Batch:
    index = torch.tensor(numbers)
    return Batch((X[index],), Y[index], torch.arange(len(numbers)))


@pytest.mark.parametrize("unroll", [None, 2])
def test_rows_are_compared_by_content_and_told_of_once(unroll: int | None) -> None:
    options = {} if unroll is None else {"unroll": unroll}
    train = [rows(0, 1), rows(2, 3), rows(4, 5), rows(6, 7)]
    with pytest.warns(UserWarning, match="[12] of 2 different meta rows seen so far have the inputs") as told:
        met = list(mw.pairs(train, [rows(1, 5)] if unroll else [rows(1, 0)], **options))
    assert len(told) == 1
    assert len(met) == (2 if unroll else 4)
    assert len(list(mw.pairs(train, [rows(8, 9)], **options))) == len(met)  # no warning, which is an error


def test_loaders_are_compared_in_their_first_epoch_alone() -> None:
    copies = TensorDataset(X.clone(), Y)
    train, meta = loader(WHOLE), loader(Subset(Indexed(copies), [3, 8]))
    with pytest.warns(UserWarning, match="different meta rows"):
        list(mw.pairs(train, meta))
    assert len(list(mw.pairs(train, meta))) == 10


def test_a_fingerprint_is_that_of_the_row_wherever_it_stands() -> None:
    for kind in (torch.float64, torch.float32, torch.bfloat16, torch.complex64, torch.int64, torch.uint8):
        values = (X * 50).abs().to(kind)
        whole = fingerprints(Batch((values,), Y, torch.arange(40)))
        some = fingerprints(Batch((values[[7, 3]],), Y[:2], torch.arange(2)))
        assert some == [whole[7], whole[3]]
        assert len(set(whole)) == 40
    named = {"a": X, "b": X.flip(1), "one": X[:1], "text": "x"}
    both = fingerprints(Batch(named, Y, torch.arange(40)))
    swapped = fingerprints(Batch({**named, "a": X.flip(1), "b": X}, Y, torch.arange(40)))
    assert not set(both) & set(swapped)
    assert fingerprints(Batch({"text": "x"}, Y, torch.arange(40))) == []
    bit = X.clone()
    bit[5, 4] = torch.nextafter(bit[5, 4], torch.tensor(9.0))
    assert (
        fingerprints(Batch((bit,), Y, torch.arange(40)))[5]
        != fingerprints(Batch((X,), Y, torch.arange(40)))[5]
    )


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaweight.data.overlap.ROWS", 6)
    watch = RowWatch()
    for start in range(0, 40, 4):
        watch.see_train(rows(*range(start, start + 4)))
    assert len(watch._train) == 8  # the batch that fills it is taken whole
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch.see_meta(rows(30))
        watch.tell()


def test_it_costs_next_to_nothing() -> None:
    """100 batches of 128 small images: a millisecond each, where a step takes tens of them."""
    images = torch.rand(128, 3, 32, 32)
    batch = Batch((images,), torch.zeros(128), torch.arange(128))
    fingerprints(batch)
    start = time.process_time()
    for _ in range(100):
        fingerprints(batch)
    assert time.process_time() - start < 0.5
